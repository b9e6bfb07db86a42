"""Counting what every operation of a model computes, reads and writes, as torch
dispatches it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from fl.costs.model_costs import Moved

if TYPE_CHECKING:
    from torch._ops import OpOverload

HALF = (torch.bfloat16, torch.float16)
# FLOP, whether they give 16-bit numbers, bytes; of one operation
Cost: TypeAlias = tuple[int | None, bool, int]


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, their FLOP, and the bytes of the tensors that they take and
    return; a view moves nothing and is no operation.

    An operation on tensors without numbers is done once for each shape that it is
    given: its results are made again from their shapes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = self.half_flop = 0
        self.product_bytes = self.other_bytes = self.operations = 0
        self._known: dict[Hashable, tuple[Cost, object]] = {}

    @property
    def moved(self) -> Moved:
        """Return what was counted so far, besides the FLOP."""
        return Moved(
            half_flop=self.half_flop,
            product_bytes=self.product_bytes,
            other_bytes=self.other_bytes,
            operations=self.operations,
        )

    def __torch_dispatch__(
        self,
        func: OpOverload[Any, Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if _only_names_memory(func):
            return func(*args, **kwargs)
        key = None if func._schema.is_mutable else _shapes(func, args, kwargs)
        if key in self._known:
            cost, shapes = self._known[key]
            self._add(cost)
            return _made(shapes)
        out = func(*args, **kwargs)
        if not _tensors((args, kwargs, out)):
            return out  # a mark of the profiler
        cost = _cost(func, args, kwargs, out)
        self._add(cost)
        if key is not None and all(one.is_meta for one in _tensors(out)):
            self._known[key] = cost, _described(out)
        return out

    def _add(self, cost: Cost) -> None:
        flop, is_half, moved = cost
        self.operations += 1
        if flop is None:
            self.other_bytes += moved
            return
        self.flop += flop
        self.half_flop += flop * is_half
        self.product_bytes += moved


def _cost(
    func: OpOverload[Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    out: object,
) -> Cost:
    tensors = _tensors((args, kwargs, out))
    count = flop_registry.get(func.overloadpacket)
    flop = None if count is None else count(*args, **kwargs, out_val=out)
    return flop, tensors[-1].dtype in HALF, sum(one.nbytes for one in tensors)


def _tensors(values: object) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


def _only_names_memory(func: OpOverload[Any, Any]) -> bool:
    name = str(func)
    return func.is_view or "_unsafe_view" in name or "empty" in name


def _shapes(func: object, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Hashable:
    """Return what decides an operation's result without numbers; None with numbers."""
    found: list[Hashable] = [func]
    for value in (*args, *kwargs.items()):
        if isinstance(value, Tensor):
            if not value.is_meta:
                return None
            found.append(_described(value))
        elif isinstance(value, (list, tuple)):
            inner = _shapes(None, value, {})
            if inner is None:
                return None
            found.append(inner)
        else:
            found.append((type(value), value))
    return tuple(found)


def _described(out: Any) -> Any:
    if isinstance(out, Tensor):
        return out.shape, out.stride(), out.dtype
    return None if out is None else [_described(one) for one in out]


def _made(shapes: Any) -> object:
    if isinstance(shapes, tuple):
        shape, stride, dtype = shapes
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    return None if shapes is None else tuple(map(_made, shapes))

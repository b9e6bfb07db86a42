"""Counting what every operation of a model computes, reads and writes, as torch
dispatches it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import add
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
BLOCK_ROWS = 32  # that torch's fused attention takes at a time, in the backward pass
LARGE_BYTES = 2**25  # above it, the C library gives no memory that was used before
Cost: TypeAlias = tuple[int, Moved]  # of one operation; its FLOP come first


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, their FLOP, and the bytes of the tensors that they take and
    return; a view moves nothing and is no operation.

    An operation on tensors without numbers is done once for each shape that it is
    given: its results are made again from their shapes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = 0
        self.moved = Moved(*[0] * len(Moved._fields))
        self._known: dict[Hashable, tuple[Cost, object]] = {}

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
        flop, moved = cost
        self.flop += flop
        self.moved = Moved(*map(add, self.moved, moved))


def _cost(
    func: OpOverload[Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    out: object,
) -> Cost:
    tensors = _tensors((args, kwargs, out))
    num_bytes = sum(one.nbytes for one in tensors)
    results = [] if func._schema.is_mutable else _tensors(out)
    large = sum(one.nbytes for one in results if one.nbytes > LARGE_BYTES)
    count = flop_registry.get(func.overloadpacket)
    if count is None:
        return 0, Moved(0, 0, num_bytes, 1, 0, large)
    flop = count(*args, **kwargs, out_val=out)
    is_half = tensors[-1].dtype in HALF
    blocks = _blocks(tensors[-1].shape) if is_half else 0
    return flop, Moved(flop * is_half, num_bytes, 0, 1, blocks, large)


def _blocks(shape: Sequence[int]) -> int:
    """Return the blocks of rows of a batched product's result; 0 of another's."""
    if len(shape) != 3:
        return 0
    return shape[0] * -(-shape[1] // BLOCK_ROWS)


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

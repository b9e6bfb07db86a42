"""Counting what every operation of a model reads and writes, as torch dispatches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from fl.costs.model_costs import Moved

if TYPE_CHECKING:
    from torch._ops import OpOverload


class MovementCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and the bytes of the tensors that they take and return; a view
    moves nothing and is no operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moved = Moved(0, 0, 0)

    def __torch_dispatch__(
        self,
        func: OpOverload[Any, Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not _only_names_memory(func):
            tensors = tree_leaves((args, kwargs, out))
            moved = sum(one.nbytes for one in tensors if isinstance(one, Tensor))
            is_product = func.overloadpacket in flop_registry
            product_bytes, other_bytes, operations = self.moved
            self.moved = Moved(
                product_bytes + moved * is_product,
                other_bytes + moved * (not is_product),
                operations + 1,
            )
        return out


def _only_names_memory(func: OpOverload[Any, Any]) -> bool:
    name = str(func)
    return func.is_view or "_unsafe_view" in name or "empty" in name

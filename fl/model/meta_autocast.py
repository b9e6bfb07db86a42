"""Autocast for tensors without numbers, on torch's meta device, which has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

PRODUCTS = frozenset(
    {
        *(functional.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__),
        *(torch.mm, Tensor.mm, torch.bmm, Tensor.bmm, torch.addmm, Tensor.addmm),
        *(torch.baddbmm, Tensor.baddbmm, torch.conv2d, functional.conv2d),
        functional.scaled_dot_product_attention,
    }
)


class MetaAutocast(TorchFunctionMode):
    """Gives matrix products their float32 tensors as bfloat16, as ``torch.autocast``
    does on a processor."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = (args, kwargs or {})
        args, kwargs = tree_map(_half, given) if func in PRODUCTS else given
        return func(*args, **kwargs)


def _half(value: object) -> object:
    is_full = isinstance(value, Tensor) and value.dtype == torch.float32
    return value.bfloat16() if is_full else value  # type: ignore[attr-defined]

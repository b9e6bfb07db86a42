"""Layers of one model that compute with the numbers of several clients at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fl.model.layers import AdaptedLinear, WholeModule

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """The clients of one pass through the model, and their numbers.

    Samples are ordered by client, the same number for each. Texts are padded to
    ``length``; ``lengths`` are the clients' own padded lengths.
    """

    tensors: Sequence[Tensor]  # one per part of the layout, [clients, *shape]
    scales: Tensor  # [clients, 1, 1], multiplied with the layer's scale
    generators: Sequence[torch.Generator]
    length: int
    lengths: Sequence[int]

    def dropout(self, inputs: Tensor, rate: float) -> Tensor:
        """Return the inputs after dropout, drawn as for each client alone."""
        import torch

        if not rate:
            return inputs
        kept = torch.zeros_like(inputs)
        of_client = kept.view(len(self.generators), -1, *kept.shape[1:])
        for mask, generator, length in zip(
            of_client, self.generators, self.lengths, strict=True
        ):
            if length != self.length and mask.dim() == 3:
                mask = mask[:, :length]
            drawn = torch.empty(mask.shape, dtype=mask.dtype, device=mask.device)
            drawn.bernoulli_(1 - rate, generator=generator).div_(1 - rate)
            mask.copy_(drawn)
        return inputs * kept


class Current:
    """The group that the layers compute with."""

    group: Group


@contextmanager
def stacked(
    linears: Sequence[AdaptedLinear], wholes: Sequence[WholeModule]
) -> Iterator[Current]:
    """Make the layers compute with the current group's numbers instead of PEFT's."""
    current = Current()
    replaced: list[nn.Module] = []
    try:
        for linear in linears:
            linear.layer.forward = partial(_linear, linear, current)
            replaced.append(linear.layer)
        for whole in wholes:
            whole.wrapper.forward = partial(_whole, whole, current)
            replaced.append(whole.wrapper)
        yield current
    finally:
        for module in replaced:
            del module.forward


def _linear(site: AdaptedLinear, current: Current, inputs: Tensor) -> Tensor:
    """Return ``W0 x + s r/k B A x`` with each client's own B and A."""
    import torch

    group = current.group
    result: Tensor = site.base(inputs)
    lora_a, lora_b = group.tensors[site.part_a], group.tensors[site.part_b]
    num_clients = len(lora_a)
    inputs = group.dropout(inputs.to(lora_a.dtype), site.dropout)
    rows = inputs.reshape(num_clients, -1, inputs.shape[-1])
    down = torch.bmm(rows, lora_a.transpose(1, 2)) * (group.scales * site.scale)
    base = result.reshape(num_clients, -1, result.shape[-1])
    total = torch.baddbmm(base.to(down.dtype), down, lora_b.transpose(1, 2))
    return total.view(result.shape).to(result.dtype)


def _whole(site: WholeModule, current: Current, inputs: Tensor) -> Tensor:
    """Return the module's outputs with each client's parameters."""
    from torch.func import functional_call, vmap

    tensors = {name: current.group.tensors[i] for name, i in site.parts.items()}
    num_clients = len(current.group.generators)
    result: Tensor
    if num_clients == 1:
        own = {name: tensor[0] for name, tensor in tensors.items()}
        result = functional_call(site.module, own, (inputs,))
        return result
    result = vmap(partial(functional_call, site.module))(
        tensors, inputs.reshape(num_clients, -1, *inputs.shape[1:])
    )
    return result.flatten(0, 1)

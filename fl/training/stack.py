"""Adapters of many clients as rows of one matrix, over one frozen base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING

from fl.local.strategy import Loss
from fl.model.adapters import Adapter, Layout
from fl.model.payload import PartName
from fl.model.sketch import Sketch, scattered, sketched
from fl.training.grouping import PassRule, join_batches, length, pass_rule
from fl.training.layers import Group, stacked

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from fl.model.lora_model import LoraModel


class Stack:
    """Sketched adapters as rows of numbers, each with a row of gradients.

    Rows have the largest rank of all clients. A client of smaller rank has zero columns
    of B and zero rows of A there; their gradients are zero, so no optimiser changes
    them.
    """

    bf16 = False

    def __init__(
        self,
        lora_model: LoraModel,
        starts: Sequence[Adapter],
        sketches: Sequence[Sketch],
        generators: Sequence[torch.Generator],
        trains: tuple[PartName, ...],
    ) -> None:
        self.rule = pass_rule_of(lora_model)
        self._lora_model = lora_model
        self._starts = starts
        self._sketches = sketches
        self._generators = generators
        wide = lora_model.layout.at_rank(max(sketch.rank for sketch in sketches))
        self._is_trained = [p.factor is None or p.factor in trains for p in wide.parts]
        self._layout = Layout(tuple(compress(wide.parts, self._is_trained)))
        frozen = [not trains for trains in self._is_trained]
        self._frozen_layout = Layout(tuple(compress(wide.parts, frozen)))
        self.values = _filled(lora_model, self._layout, starts, sketches)
        self._frozen = _filled(lora_model, self._frozen_layout, starts, sketches)
        self.gradients = self.values.new_zeros(self.values.shape)

    def trained(self, row: int, *, gain: float) -> Adapter:
        """Return a client's adapter; ``gain`` multiplies the change of a sketch."""
        start, sketch = self._starts[row], self._sketches[row]
        tensors = sketched(start.layout, start.tensors(), sketch)
        tensors.update(self._named_tensors(row))
        return scattered(start, sketch, tensors, gain=gain)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the model compute with these rows."""
        with stacked(
            self._lora_model.linears, self._lora_model.wholes
        ) as self._current:
            yield

    def differentiated(
        self,
        rows: Sequence[int],
        batches: Sequence[Mapping[str, Tensor]],
        num_items: Sequence[int],
        loss: Loss,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of each batch, one per row named, and its gradient.

        The sum of all losses is differentiated, since each depends on its own row only.
        """
        import torch

        lora_model = self._lora_model
        chosen = torch.tensor(rows, device=self.values.device)
        own = self.values[chosen].requires_grad_()
        batch = lora_model.placed(join_batches(batches, lora_model.pad_token_id))
        self._current.group = self._group(own, rows, batches)
        losses = loss(
            lora_model.logits(batch, bf16=self.bf16),
            batch["labels"],
            own.new_tensor(num_items),
        )
        (gradients,) = torch.autograd.grad(losses.sum(), own)
        return losses.detach(), gradients

    def own(self, row: int, numbers: Tensor) -> list[Tensor]:
        """Return the client's own numbers of a row, as views."""
        return list(_own(self._layout, numbers, self._sketches[row].rank).values())

    def replace(self, row: int, adapter: Adapter) -> None:
        """Take the numbers of a whole adapter for a client's."""
        own = [adapter], [self._sketches[row]]
        self.values[row] = _filled(self._lora_model, self._layout, *own)[0]

    def _named_tensors(self, row: int) -> dict[str, Tensor]:
        """Return a client's trained tensors, by PEFT name."""
        values = self.values[row].to("cpu", copy=True)
        return _own(self._layout, values, self._sketches[row].rank)

    def _trained_tensors(self, own: Tensor) -> list[Tensor]:
        """Return the trained tensors, [clients, *shape], of these rows."""
        return stacked_views(self._layout, own)

    def _group(
        self,
        own: Tensor,
        rows: Sequence[int],
        batches: Sequence[Mapping[str, Tensor]],
    ) -> Group:
        sketches = [self._sketches[row] for row in rows]
        lengths = [length(batch) for batch in batches]
        trained = iter(self._trained_tensors(own))
        frozen = iter(stacked_views(self._frozen_layout, self._frozen[rows]))
        return Group(
            tensors=[
                next(trained if trains else frozen) for trains in self._is_trained
            ],
            scales=own.new_tensor([sketch.scale for sketch in sketches]).view(-1, 1, 1),
            generators=[self._generators[row] for row in rows],
            length=max(lengths),
            lengths=lengths,
        )


def pass_rule_of(lora_model: LoraModel) -> PassRule:
    """Return the model's pass rule; with dropout mini-batches are not sliced, since
    slices would draw it in another order."""
    drops = any(linear.dropout for linear in lora_model.linears)
    rule = pass_rule(
        lora_model.device.type,
        width=lora_model.width,
        positions_per_image=lora_model.positions_per_image,
    )
    return replace(rule, slices_texts=rule.slices_texts and not drops)


def _filled(
    lora_model: LoraModel,
    layout: Layout,
    starts: Sequence[Adapter],
    sketches: Sequence[Sketch],
) -> Tensor:
    """Return one row per client: the layout's part of its sketched adapter."""
    import torch

    rows = torch.zeros(len(starts), layout.num_numbers, dtype=lora_model.dtype)
    for row, start, sketch in zip(rows, starts, sketches, strict=True):
        tensors = sketched(start.layout, start.tensors(), sketch)
        for name, own in _own(layout, row, sketch.rank).items():
            own.copy_(tensors[name])
    return rows.to(lora_model.device)


def stacked_views(layout: Layout, rows: Tensor) -> list[Tensor]:
    """Return the tensors of a layout as views [clients, *shape] into the rows."""
    import torch

    chunks = torch.split(rows, [part.num_numbers for part in layout.parts], dim=1)
    pairs = zip(chunks, layout.parts, strict=True) if layout.parts else ()
    return [chunk.view(-1, *part.shape) for chunk, part in pairs]


def _own(layout: Layout, values: Tensor, rank: int) -> dict[str, Tensor]:
    """Return views by name into a row, narrowed to the client's rank."""
    views = layout.views(values) if layout.parts else {}
    return {
        part.name: views[part.name]
        if part.rank_dim is None
        else views[part.name].narrow(part.rank_dim, 0, rank)
        for part in layout.parts
    }

"""Fed-SB's client layer: a trained core between two fixed matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING

from fl.model.adapters import Adapter, Layout
from fl.model.sketch import whole_sketch
from fl.streams import torch_stream
from fl.training.stack import Stack, filled, pass_rule_of, stacked_views

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from fl.model.lora_model import LoraModel


class CoreStack(Stack):
    """Clients' cores R and whole modules; a layer computes with ``B0 R`` and A.

    B0 has orthonormal columns and is drawn from the seed, so it is never sent. Starting
    adapters are pairs ``(B0 R, A)``.
    """

    def __init__(
        self,
        lora_model: LoraModel,
        starts: Sequence[Adapter],
        generators: Sequence[torch.Generator],
        seed: int,
    ) -> None:
        layout = lora_model.layout
        self.rule = pass_rule_of(lora_model)
        self._lora_model = lora_model
        self._starts = starts
        self._sketches = [whole_sketch(layout.rank) for _ in starts]
        self._generators = generators
        self._bases = {
            part.name: fixed_basis(seed, part.module, part.shape).to(lora_model.dtype)
            for part in layout.parts
            if part.factor == "B"
        }
        self._is_trained = [part.factor != "A" for part in layout.parts]
        cores = [
            replace(part, shape=(layout.rank, layout.rank), factor=None)
            if part.name in self._bases
            else part
            for part in layout.parts
        ]
        self._layout = Layout(tuple(compress(cores, self._is_trained)))
        frozen = [not trains for trains in self._is_trained]
        self._frozen_layout = Layout(tuple(compress(layout.parts, frozen)))
        self.values = self._cores()
        self._frozen = filled(lora_model, self._frozen_layout, starts, self._sketches)
        self.gradients = self.values.new_zeros(self.values.shape)

    def _cores(self) -> Tensor:
        """Return the starting rows, with the R of each ``B0 R``."""
        import torch

        rows = []
        for start in self._starts:
            tensors = start.tensors()
            tensors.update(
                (name, basis.T @ tensors[name]) for name, basis in self._bases.items()
            )
            rows.append(self._layout.pack(tensors).flat)
        return torch.stack(rows).to(self._lora_model.device)

    def _named_tensors(self, row: int) -> dict[str, Tensor]:
        values = self.values[row].to("cpu", copy=True)
        tensors = self._layout.views(values)
        tensors.update(
            (name, basis @ tensors[name]) for name, basis in self._bases.items()
        )
        return tensors

    def _trained_tensors(self, own: Tensor) -> list[Tensor]:
        views = stacked_views(self._layout, own)
        named = zip(self._layout.parts, views, strict=True)
        return [
            self._bases[part.name].to(view.device) @ view
            if part.name in self._bases
            else view
            for part, view in named
        ]


def fixed_basis(seed: int, module: str, shape: tuple[int, ...]) -> Tensor:
    """Return the module's matrix of orthonormal columns, in float64."""
    import torch

    stream = torch_stream(seed, f"fixed basis {module}")
    drawn = torch.randn(shape, generator=stream, dtype=torch.float64)
    basis: Tensor = torch.linalg.qr(drawn).Q
    return basis

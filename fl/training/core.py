"""Fed-SB's client layer: a trained core between two fixed matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fl.model.adapters import Adapter, Layout
from fl.model.sketch import whole_sketch
from fl.streams import torch_stream
from fl.training.stack import Stack, stacked_views

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
        rank = lora_model.layout.rank
        sketches = [whole_sketch(rank)] * len(starts)
        super().__init__(lora_model, starts, sketches, generators, ("B",))
        self._bases = {
            part.name: fixed_basis(seed, part.module, part.shape).to(lora_model.dtype)
            for part in self._layout.parts
            if part.factor == "B"
        }
        self._layout = Layout(
            tuple(
                replace(part, shape=(rank, rank), factor=None)
                if part.name in self._bases
                else part
                for part in self._layout.parts
            )
        )
        self.values = self._cores()
        self.gradients = self.values.new_zeros(self.values.shape)

    def _cores(self) -> Tensor:
        """Return the starting rows, with the R of each ``B0 R``."""
        import torch

        rows = []
        for start in self._starts:
            tensors = start.tensors()
            for name, basis in self._bases.items():
                tensors[name] = basis.T @ tensors[name]
            rows.append(self._layout.pack(tensors).flat)
        return torch.stack(rows).to(self._lora_model.device)

    def _named_tensors(self, row: int) -> dict[str, Tensor]:
        tensors = self._layout.views(self.values[row].to("cpu", copy=True))
        for name, basis in self._bases.items():
            tensors[name] = basis @ tensors[name]
        return tensors

    def _trained_tensors(self, own: Tensor) -> list[Tensor]:
        views = stacked_views(self._layout, own)
        for place, part in enumerate(self._layout.parts):
            if part.name in self._bases:
                views[place] = self._bases[part.name].to(own.device) @ views[place]
        return views


def fixed_basis(seed: int, module: str, shape: tuple[int, ...]) -> Tensor:
    """Return the module's matrix of orthonormal columns, in float64."""
    import torch

    stream = torch_stream(seed, f"fixed basis {module}")
    drawn = torch.randn(shape, generator=stream, dtype=torch.float64)
    basis: Tensor = torch.linalg.qr(drawn).Q
    return basis

"""What one model with LoRA costs: a record that every run asks and none recounts."""

from __future__ import annotations

from dataclasses import dataclass

from fl.costs.curves import Curve, Lengths
from fl.model.payload import Extent, Shape, parts_extent
from fl.settings.local_training import TrainingSettings

BYTES_PER_NUMBER = 4  # float32


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCosts:
    """Costs of one model, one set of adapted modules and one batch size.

    FLOP are per sample, at the expected length of a mini-batch padded to its longest
    text; the curves give them at any length. The two ``saved`` counts are the bytes
    that the forward pass keeps for the backward pass of one whole mini-batch as long
    as the longest text.
    """

    base_flop: int
    flop_per_rank: int
    base_flop_curve: Curve
    flop_per_rank_curve: Curve
    lengths: Lengths
    base_parameters: int
    base_bytes: int
    adapted: tuple[Shape, ...]  # the matrices that LoRA is on
    rest: Extent  # what is trained outside LoRA
    saved_bytes: int
    saved_bytes_per_rank: int
    batch_size: int
    samples_per_step: int  # of all mini-batches that one optimiser step takes

    def num_trainable(self, rank: int) -> int:
        """Return how many numbers a client of this rank trains."""
        return self.extent(rank).num_numbers

    def extent(self, rank: int) -> Extent:
        """Return what a whole adapter of this rank is made of."""
        return parts_extent(("B", "A"), self.adapted, rank) + self.rest

    def training_flop(self, *, rank: int, steps: int) -> int:
        """Return the FLOP of one participation."""
        per_sample = self.base_flop + self.flop_per_rank * rank
        return steps * self.samples_per_step * per_sample

    def training_memory_bytes(self, *, rank: int, training: TrainingSettings) -> int:
        """Return the bytes of weights, gradients, optimiser state and activations."""
        states = {"sgd": 0, "momentum": 1, "adamw": 2}[training.optim]
        trained = self.num_trainable(rank) * (2 + states) * BYTES_PER_NUMBER
        activations = self.saved_bytes + self.saved_bytes_per_rank * rank
        return self.base_bytes + trained + activations

"""What one model with LoRA costs: a record that every run asks and none recounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fl.contract import Work
from fl.costs.curves import Curve, Lengths
from fl.model.payload import Extent, Shape, parts_extent
from fl.settings.local_training import TrainingSettings

BYTES_PER_NUMBER = 4  # float32
# numbers that a step reads and writes per trained number, and its operations
OPTIMISER_STEPS = {"sgd": (5, 2), "momentum": (10, 4), "adamw": (25, 11)}


class Moved(NamedTuple):
    """What the operations of one mini-batch read and write, matrix products and others
    apart, and how many operations there are."""

    product_bytes: int
    other_bytes: int
    operations: int


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
    moved: Moved  # by forward and backward of one mini-batch, at rank 0
    moved_per_rank: Moved

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

    def training_work(self, *, rank: int, training: TrainingSettings) -> Work:
        """Return what one participation computes, data loading left out."""
        steps = training.local_steps
        passes = steps * training.gradient_accumulation_steps
        pairs = zip(self.moved, self.moved_per_rank, strict=True)
        moved = Moved(*(base + rank * per_rank for base, per_rank in pairs))
        numbers, operations = OPTIMISER_STEPS[training.optim]
        updated_bytes = numbers * self.num_trainable(rank) * BYTES_PER_NUMBER
        return Work(
            flop=self.training_flop(rank=rank, steps=steps),
            product_bytes=passes * moved.product_bytes,
            other_bytes=passes * moved.other_bytes + steps * updated_bytes,
            operations=passes * moved.operations + steps * operations,
            steps=steps,
        )

    def training_memory_bytes(self, *, rank: int, training: TrainingSettings) -> int:
        """Return the bytes of weights, gradients, optimiser state and activations."""
        states = {"sgd": 0, "momentum": 1, "adamw": 2}[training.optim]
        trained = self.num_trainable(rank) * (2 + states) * BYTES_PER_NUMBER
        activations = self.saved_bytes + self.saved_bytes_per_rank * rank
        return self.base_bytes + trained + activations

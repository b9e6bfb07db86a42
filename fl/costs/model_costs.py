"""What one model with LoRA costs: a record that every run asks and none recounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fl.contract import Work
from fl.costs.curves import Curve, Lengths
from fl.model.payload import Extent, PartName, Shape, parts_extent
from fl.settings.local_training import TrainingSettings

BYTES_PER_NUMBER = 4  # float32
# numbers that a step reads and writes per trained number, and its operations
OPTIMISER_STEPS = {"sgd": (5, 2), "momentum": (10, 4), "adamw": (25, 11)}


class Moved(NamedTuple):
    """Of the operations of one mini-batch: the FLOP that give 16-bit numbers, the bytes
    that matrix products and others read and write, their number, the blocks of batched
    16-bit products, and the bytes of large results."""

    half_flop: int
    product_bytes: int
    other_bytes: int
    operations: int
    blocks: int
    large_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCosts:
    """Costs of one model, one set of adapted modules, one batch size and the parts that
    are trained.

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
    trains: tuple[PartName, ...] = ("B", "A")

    def num_trainable(self, rank: int) -> int:
        """Return how many numbers a client of this rank trains."""
        trained = parts_extent(self.trains, self.adapted, rank) + self.rest
        return trained.num_numbers

    def extent(self, rank: int) -> Extent:
        """Return what a whole adapter of this rank is made of."""
        return parts_extent(("B", "A"), self.adapted, rank) + self.rest

    def training_flop(self, *, rank: int, steps: int) -> int:
        """Return the FLOP of one participation."""
        per_sample = self.base_flop + self.flop_per_rank * rank
        passes = steps * self.samples_per_step // self.batch_size
        return steps * self.samples_per_step * per_sample + passes * self._core(rank)[0]

    def training_work(self, *, rank: int, training: TrainingSettings) -> Work:
        """Return what one participation computes, data loading left out."""
        steps = training.local_steps
        passes = steps * training.gradient_accumulation_steps
        pairs = zip(self.moved, self.moved_per_rank, strict=True)
        moved = Moved(*(base + rank * per_rank for base, per_rank in pairs))
        numbers, operations = OPTIMISER_STEPS[training.optim]
        updated_bytes = numbers * self.num_trainable(rank) * BYTES_PER_NUMBER
        _, core_bytes, core_operations = self._core(rank)
        return Work(
            flop=self.training_flop(rank=rank, steps=steps),
            half_flop=passes * moved.half_flop,
            product_bytes=passes * (moved.product_bytes + core_bytes),
            other_bytes=passes * moved.other_bytes + steps * updated_bytes,
            operations=passes * (moved.operations + core_operations)
            + steps * operations,
            blocks=passes * moved.blocks,
            large_bytes=passes * moved.large_bytes,
            steps=steps,
        )

    def training_memory_bytes(self, *, rank: int, training: TrainingSettings) -> int:
        """Return the bytes of weights, gradients, optimiser state and activations."""
        states = {"sgd": 0, "momentum": 1, "adamw": 2}[training.optim]
        gradients = self.num_trainable(rank) * (1 + states)
        numbers = self.extent(rank).num_numbers + gradients
        if "core" in self.trains:
            numbers += parts_extent(("core",), self.adapted, rank).num_numbers
        activations = self.saved_bytes + self.saved_bytes_per_rank * rank
        return self.base_bytes + numbers * BYTES_PER_NUMBER + activations

    def _core(self, rank: int) -> tuple[int, int, int]:
        """Return FLOP, bytes and operations of a mini-batch that a trained core R adds
        to a trained B: the products ``B0 R`` and ``B0^T dB``."""
        if "core" not in self.trains:
            return 0, 0, 0
        rows = sum(shape.num_rows for shape in self.adapted)
        numbers = 2 * rows * rank + len(self.adapted) * rank * rank
        return (
            2 * 2 * rows * rank * rank,
            2 * numbers * BYTES_PER_NUMBER,
            2 * len(self.adapted),
        )

"""How costs grow with a text's length, and how long padded mini-batches are."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from fl.tasks import Task
from fl.tasks.splits import spread

MAX_MEASURED = 20_000  # training texts whose length is looked at, evenly spread


class Curve(NamedTuple):
    """A cost as ``constant + linear * length + quadratic * length ** 2``."""

    constant: float
    linear: float = 0.0
    quadratic: float = 0.0

    def at(self, length: float, square: float | None = None) -> int:
        """Return the cost at a length, or its mean where ``square`` is the mean one."""
        square = length * length if square is None else square
        return round(self.constant + self.linear * length + self.quadratic * square)


class Lengths(NamedTuple):
    """The lengths of padded mini-batches in tokens; zeros for images."""

    mean: float = 0.0
    mean_square: float = 0.0
    longest: int = 0


def fitted(lengths: Sequence[int], costs: Sequence[int]) -> Curve:
    """Return the curve through three evenly spaced points, in exact arithmetic."""
    first, second, third = lengths
    step = second - first
    assert third - second == step
    bend = Fraction(costs[2] - 2 * costs[1] + costs[0], 2 * step * step)
    slope = Fraction(costs[1] - costs[0], step) - bend * (first + second)
    constant = costs[0] - slope * first - bend * first * first
    return Curve(float(constant), float(slope), float(bend))


def padded_lengths(task: Task, batch_size: int) -> Lengths:
    """Return the mean and the largest length of padded training mini-batches."""
    samples = spread(len(task.labels("train")), MAX_MEASURED)
    if not task.max_length:
        return Lengths()
    return expected_lengths(task.lengths("train", samples).tolist(), batch_size)


def expected_lengths(lengths: Sequence[int], batch_size: int) -> Lengths:
    """Return the moments of the longest of ``batch_size`` independent draws."""
    ordered = np.sort(np.array(lengths, dtype=np.float64))
    below = np.arange(len(ordered) + 1) / len(ordered)
    chance = np.diff(below**batch_size)  # that the k-th shortest is the longest drawn
    return Lengths(
        mean=float(chance @ ordered),
        mean_square=float(chance @ ordered**2),
        longest=int(ordered[-1]),
    )

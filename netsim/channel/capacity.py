"""A measured capacity over time: a periodic table, inverted by bisection.

Efficiency is piecewise constant, and the table repeats after its last row. Capacity at
a tick is the integral of efficiency since time zero, in 1e-9 bit/s/Hz x nanoseconds,
that is 1e-18 bit per Hz held. All values are integers, so a band stays exact.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple


class Step(NamedTuple):
    """An interval of constant efficiency, in 1e-9 bit/s/Hz."""

    start_ns: int
    end_ns: int
    efficiency_nbit: int


class CapacityTable:
    """One period of a measured capacity, which repeats from time zero on."""

    def __init__(self, steps: Sequence[Step]) -> None:
        assert steps
        assert steps[0].start_ns == 0
        assert all(one.end_ns == two.start_ns for one, two in pairwise(steps))
        assert all(one.start_ns < one.end_ns for one in steps)
        self.steps = tuple(steps)
        self._starts_ns = [one.start_ns for one in steps]
        grown = ((one.end_ns - one.start_ns) * one.efficiency_nbit for one in steps)
        self._reached = list(accumulate(grown, initial=0))  # at starts, and at the end
        assert self.capacity_per_period > 0

    @property
    def period_ns(self) -> int:
        """Return the table's period in ticks."""
        return self.steps[-1].end_ns

    @property
    def capacity_per_period(self) -> int:
        """Return the capacity of one period."""
        return self._reached[-1]

    @property
    def mean_efficiency_bit_s_hz(self) -> float:
        """Return the mean efficiency over a period, in bit/s/Hz."""
        return self.capacity_per_period / self.period_ns / 1e9

    @property
    def gaps_ns(self) -> list[int]:
        """Return the lengths of the intervals of a period without capacity, in ns."""
        empty = (
            one.end_ns - one.start_ns for one in self.steps if not one.efficiency_nbit
        )
        return list(empty)

    def from_offset(self, offset_ns: int) -> CapacityTable:
        """Return the table that begins ``offset_ns`` into this one."""
        offset_ns %= self.period_ns
        period_ns = self.period_ns
        shifted = [  # this period and the next, with the offset as their origin
            Step(one.start_ns + shift_ns, one.end_ns + shift_ns, one.efficiency_nbit)
            for shift_ns in (-offset_ns, period_ns - offset_ns)
            for one in self.steps
        ]
        return CapacityTable(
            [
                Step(max(start_ns, 0), min(end_ns, period_ns), efficiency_nbit)
                for start_ns, end_ns, efficiency_nbit in shifted
                if end_ns > 0 and start_ns < period_ns
            ]
        )

    def at(self, now_ns: int) -> int:
        """Return the capacity from time zero to a tick."""
        num_periods, within_ns = divmod(now_ns, self.period_ns)
        index = bisect_right(self._starts_ns, within_ns) - 1
        step = self.steps[index]
        grown = (within_ns - step.start_ns) * step.efficiency_nbit
        return num_periods * self.capacity_per_period + self._reached[index] + grown

    def first_ns(self, capacity: int) -> int:
        """Return the first tick at which :meth:`at` reaches ``capacity``."""
        if capacity <= 0:
            return 0
        # minus one, so that a whole period ends at its last tick, not at the next start
        num_periods, before = divmod(capacity - 1, self.capacity_per_period)
        within = before + 1
        index = bisect_left(self._reached, within) - 1
        step = self.steps[index]
        missing = within - self._reached[index]
        end_ns = step.start_ns - -missing // step.efficiency_nbit
        return num_periods * self.period_ns + end_ns

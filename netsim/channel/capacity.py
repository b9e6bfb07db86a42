"""A capacity that changes as it was measured: a table, inverted by bisection.

Efficiency is constant between the table's rows and starts over after the last one.
Everything is an integer, so that a band stays exact: the capacity at a tick is the
integral of efficiency since time zero, in 1e-9 bit/s/Hz x nanoseconds, which is 1e-18
bit for every Hz that is held all the time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple


class Step(NamedTuple):
    """An interval of one lap with constant efficiency, in 1e-9 bit/s/Hz."""

    start_ns: int
    end_ns: int
    efficiency_nbit: int


class CapacityTable:
    """One lap of a measured capacity, which is repeated for ever from time zero on."""

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
        """Return after how many ticks the table starts over."""
        return self.steps[-1].end_ns

    @property
    def capacity_per_period(self) -> int:
        """Return the capacity of one lap."""
        return self._reached[-1]

    @property
    def mean_efficiency_bit_s_hz(self) -> float:
        """Return the efficiency averaged over a lap."""
        return self.capacity_per_period / self.period_ns / 1e9

    def from_offset(self, offset_ns: int) -> CapacityTable:
        """Return the lap that begins so far into this one."""
        offset_ns %= self.period_ns
        later = [
            Step(max(one.start_ns, offset_ns), one.end_ns, one.efficiency_nbit)
            for one in self.steps
            if one.end_ns > offset_ns
        ]
        earlier = [
            Step(
                one.start_ns + self.period_ns,
                min(one.end_ns, offset_ns) + self.period_ns,
                one.efficiency_nbit,
            )
            for one in self.steps
            if one.start_ns < offset_ns
        ]
        return CapacityTable(
            [
                Step(start_ns - offset_ns, end_ns - offset_ns, efficiency_nbit)
                for start_ns, end_ns, efficiency_nbit in [*later, *earlier]
            ]
        )

    def at(self, now_ns: int) -> int:
        """Return the capacity from time zero to a tick."""
        lap, within_ns = divmod(now_ns, self.period_ns)
        index = bisect_right(self._starts_ns, within_ns) - 1
        step = self.steps[index]
        grown = (within_ns - step.start_ns) * step.efficiency_nbit
        return lap * self.capacity_per_period + self._reached[index] + grown

    def first_ns(self, capacity: int) -> int:
        """Return the first tick by which so much capacity has been there."""
        if capacity <= 0:
            return 0
        lap, before = divmod(
            capacity - 1, self.capacity_per_period
        )  # none is missing at a lap's end
        within = before + 1
        index = bisect_left(self._reached, within) - 1
        step = self.steps[index]
        missing = within - self._reached[index]
        return lap * self.period_ns + step.start_ns - -missing // step.efficiency_nbit

"""Shares fixed for a round that maximise the lowest rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from netsim.band.transfer import Terms
from netsim.channel.radio import Radio
from netsim.sharing.equal_finish import NUM_BISECTIONS, finish_shares_hz
from netsim.sharing.rule import Expected, PerRound, pins


class EqualRate(PerRound):
    """All participants of a round send at the greatest common rate; a share is inverse
    to spectral efficiency.

    A participant at its radio's ceiling limits all others to its rate.
    """

    kind: Literal["equal-rate"] = "equal-rate"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        # transfers of one bit that start and end together have equal rates
        alike = [replace(one, compute_s=0.0, bits=1) for one in expected]
        return pins(expected, finish_shares_hz(alike, free_uhz, radio), free_uhz)


class MaxMin(PerRound):
    """A round's fixed shares are max-min fair in rate: no rate can increase unless a
    lower one decreases.

    All rates are equal, except those that a radio's ceiling keeps lower; the others
    divide the rest of the band. Without ceilings this is ``equal-rate``.
    """

    kind: Literal["max-min"] = "max-min"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        band_hz = free_uhz / 1e6
        return pins(expected, max_min_shares_hz(expected, band_hz, radio), free_uhz)


def max_min_shares_hz(
    expected: Sequence[Expected], band_hz: float, radio: Radio
) -> list[float]:
    """Return the max-min fair shares, in Hz, by bisection for the rate at which
    ``sum min(ceiling_n, f_n(rate)) = band``."""
    most_hz = [min(one.ceiling_hz, band_hz) for one in expected]
    if math.fsum(most_hz) <= band_hz:
        return most_hz

    def shares_hz(rate_bps: float) -> list[float]:
        return [
            min(one.ceiling_hz, radio.share_hz_for_rate(one.cn0_hz, rate_bps))
            for one in expected
        ]

    pairs = zip(expected, most_hz, strict=True)
    low, high = 0.0, max(radio.rate_bps(one.cn0_hz, share) for one, share in pairs)
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if math.fsum(shares_hz(middle)) > band_hz:
            high = middle
        else:
            low = middle
    return shares_hz(low)

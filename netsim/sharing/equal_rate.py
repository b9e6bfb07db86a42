"""Shares fixed for a round so that the slowest sends as fast as it can."""

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
    """All of a round's participants send at one rate, the greatest that all can have;
    a share is inverse to spectral efficiency.

    One who is held at its radio's ceiling holds all the others at its rate.
    """

    kind: Literal["equal-rate"] = "equal-rate"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        if not expected:
            return {}
        # one bit each, started at once: to end together is to have equal rates
        alike = [replace(one, compute_s=0.0, bits=1) for one in expected]
        return pins(expected, finish_shares_hz(alike, free_uhz, radio), free_uhz)


class MaxMin(PerRound):
    """A round's fixed shares are max-min fair in rate: nobody can have more without one
    who has less losing some.

    The rates are equal but for those whose radio's ceiling keeps them lower; what these
    leave goes to the others. Without ceilings it is ``equal-rate``.
    """

    kind: Literal["max-min"] = "max-min"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        if not expected:
            return {}
        band_hz = free_uhz / 1e6
        return pins(expected, max_min_shares_hz(expected, band_hz, radio), free_uhz)


def max_min_shares_hz(
    expected: Sequence[Expected], band_hz: float, radio: Radio
) -> list[float]:
    """Return the shares of greatest least rate, in Hz: bisect for the rate at which
    ``sum min(ceiling_n, f_n(rate)) = band``."""
    most_hz = [min(one.ceiling_hz, band_hz) for one in expected]
    if math.fsum(most_hz) <= band_hz:
        return most_hz

    def shares_hz(rate_bps: float) -> list[float]:
        return [
            min(one.ceiling_hz, radio.share_hz_for_rate(one.cn0_hz, rate_bps))
            for one in expected
        ]

    low, high = (
        0.0,
        max(
            radio.rate_bps(one.cn0_hz, share)
            for one, share in zip(expected, most_hz, strict=True)
        ),
    )
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if math.fsum(shares_hz(middle)) > band_hz:
            high = middle
        else:
            low = middle
    return shares_hz(low)

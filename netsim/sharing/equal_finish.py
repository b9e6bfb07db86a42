"""Shares fixed for a round so that all participants end together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from netsim.band.transfer import Terms
from netsim.channel.radio import Radio
from netsim.sharing.rule import Expected, PerRound, pins

NUM_BISECTIONS = 200  # stops earlier, when the interval is one float wide
WIDENED = 1 + 1e-9  # rounding must not put a single client above its ceiling


class EqualFinish(PerRound):
    """Fixed shares with the least round time: all participants end at one time ``T``.

    As in arXiv 2505.23555: the share ``f_n`` carries ``bits_n`` in ``T - tau_n``, and
    ``T`` is the root of ``sum f_n(T) = band``.
    """

    kind: Literal["equal-finish"] = "equal-finish"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        return pins(expected, finish_shares_hz(expected, free_uhz, radio), free_uhz)


def finish_shares_hz(
    expected: Sequence[Expected], free_uhz: int, radio: Radio
) -> list[float]:
    """Return the shares with which all end at :func:`finish_s`, in Hz."""
    if not expected:
        return []
    end_s = finish_s(expected, free_uhz / 1e6, radio)
    return [_share_hz(one, end_s, radio) for one in expected]


def finish_s(expected: Sequence[Expected], band_hz: float, radio: Radio) -> float:
    """Return the common end of equal-finish, in seconds after the round's start."""
    low = max(one.compute_s for one in expected)
    one_by_one_s = math.fsum(
        one.bits / radio.rate_bps(one.cn0_hz, min(one.ceiling_hz, band_hz))
        for one in expected
    )
    high = low + one_by_one_s * WIDENED
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        total = math.fsum(_share_hz(one, middle, radio) for one in expected)
        if total > band_hz:
            low = middle
        else:
            high = middle
    return high


def _share_hz(one: Expected, end_s: float, radio: Radio) -> float:
    if not one.bits:
        return 0.0
    left_s = end_s - one.compute_s
    if left_s <= 0:
        return math.inf
    share_hz = radio.share_hz_for_rate(one.cn0_hz, one.bits / left_s)
    return share_hz if share_hz <= one.ceiling_hz else math.inf

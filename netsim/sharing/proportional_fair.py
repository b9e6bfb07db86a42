"""Shares fixed for a round so that the product of rates is greatest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final, Literal

from netsim.band.transfer import Terms, Transfer
from netsim.channel.radio import Radio
from netsim.scenario import Record
from netsim.sharing.rule import Expected, pins

NUM_BISECTIONS: Final = 40
STEP: Final = 1e-6  # of the difference quotient; the optimum is flat


class ProportionalFair(Record):
    """A round's fixed shares maximise ``sum log(rate_n)`` (Kelly, "Charging and rate
    control for elastic traffic", 1997).

    Under the per-hertz radio that is an equal share for everybody below its ceiling;
    under fixed power stronger channels, whose rates saturate later, have more.
    """

    plans_rounds: ClassVar[bool] = True
    kind: Literal["proportional-fair"] = "proportional-fair"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        if not expected:
            return {}
        return pins(
            expected, _fair_shares_hz(expected, free_uhz / 1e6, radio), free_uhz
        )

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer]
    ) -> Iterable[tuple[Transfer, Terms]]:
        return ()


def _fair_shares_hz(
    expected: Sequence[Expected], band_hz: float, radio: Radio
) -> list[float]:
    """Bisect for the price per hertz at which the shares fill the band.

    At price ``p`` a share solves ``d log(rate) / d f = p``; elasticities are at most
    one, so ``p`` is at most ``K / band``.
    """
    most_hz = [min(one.ceiling_hz, band_hz) for one in expected]
    if math.fsum(most_hz) <= band_hz:
        return most_hz

    def shares_hz(price: float) -> list[float]:
        return [
            _share_hz(one.cn0_hz, price, most, radio)
            for one, most in zip(expected, most_hz, strict=True)
        ]

    low, high = 0.0, len(expected) / band_hz
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if math.fsum(shares_hz(middle)) > band_hz:
            low = middle
        else:
            high = middle
    return shares_hz(low)  # a hair too much, which ``pins`` takes off


def _share_hz(cn0_hz: float, price: float, most_hz: float, radio: Radio) -> float:
    """Return the widest share whose last hertz is worth its price."""
    low, high = 0.0, min(most_hz, 1 / price) if price else most_hz
    if not radio.depends_on_share or _elasticity(cn0_hz, high, radio) >= price * high:
        return high
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if _elasticity(cn0_hz, middle, radio) >= price * middle:
            low = middle
        else:
            high = middle
    return high


def _elasticity(cn0_hz: float, share_hz: float, radio: Radio) -> float:
    """Return ``d log(rate) / d log(share)``: one where rate is linear in the share."""
    rate_bps = radio.rate_bps(cn0_hz, share_hz)
    if not rate_bps:
        return 1.0
    wider_bps = radio.rate_bps(cn0_hz, share_hz * (1 + STEP))
    return math.log(wider_bps / rate_bps) / math.log1p(STEP)

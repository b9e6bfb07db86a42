"""Shares fixed for a round that maximise the product of rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

from netsim.band.transfer import Terms
from netsim.channel.radio import Radio
from netsim.sharing.rule import Expected, PerRound, pins

MAX_HALVINGS: Final = 60
PRECISION: Final = 1e-9  # of a root, relative
LEAST_PRICE: Final = 1e-9  # x 1 / band: so cheap that all shares are widest
STEP: Final = 1e-6  # of the difference quotient; the optimum is flat


class ProportionalFair(PerRound):
    """A round's fixed shares maximise ``sum log(rate_n)`` (Kelly, "Charging and rate
    control for elastic traffic", 1997).

    With the per-hertz radio all participants below their ceilings have equal shares; at
    fixed power stronger channels, whose rates saturate later, have more.
    """

    kind: Literal["proportional-fair"] = "proportional-fair"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        return pins(expected, fair_shares_hz(expected, free_uhz / 1e6, radio), free_uhz)


def fair_shares_hz(
    expected: Sequence[Expected], band_hz: float, radio: Radio
) -> list[float]:
    """Return the shares with the greatest product of rates, in Hz, by search for the
    price per hertz at which they fill the band.

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

    def excess(price: float) -> float:
        return math.fsum(shares_hz(price)) / band_hz - 1

    highest = len(expected) / band_hz
    # the sum slightly exceeds the band; ``pins`` scales it down
    return shares_hz(_last_positive(excess, LEAST_PRICE / band_hz, highest))


def _share_hz(cn0_hz: float, price: float, most_hz: float, radio: Radio) -> float:
    """Return the widest share, in Hz, whose marginal utility is at least the price."""
    widest_hz = min(most_hz, 1 / price)

    def surplus(share_hz: float) -> float:
        return _elasticity(cn0_hz, share_hz, radio) / (price * share_hz) - 1

    if not radio.depends_on_share or surplus(widest_hz) >= 0:
        return widest_hz
    return _last_positive(surplus, widest_hz * 1e-12, widest_hz)


def _last_positive(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return the root of a decreasing function, from its positive side.

    Ridders' method ("A new algorithm for computing a single root of a real continuous
    function", 1979) in logarithms; each step at least halves the interval.
    """
    at_low, at_high = falling(low), falling(high)
    if at_low < 0:
        return low
    if at_high >= 0:
        return high
    for _ in range(MAX_HALVINGS):
        middle = math.sqrt(low * high)
        at_middle = falling(middle)
        span = math.sqrt(at_middle * at_middle - at_low * at_high)
        bent = middle * math.sqrt(high / low) ** (at_middle / span) if span else middle
        for point, value in ((middle, at_middle), (bent, falling(bent))):
            if not low < point < high:
                continue
            if value >= 0:
                low, at_low = point, value
            else:
                high, at_high = point, value
        if high <= low * (1 + PRECISION):
            break
    return low


def _elasticity(cn0_hz: float, share_hz: float, radio: Radio) -> float:
    """Return ``d log(rate) / d log(share)``: one where rate is linear in the share."""
    rate_bps = radio.rate_bps(cn0_hz, share_hz)
    if not rate_bps:
        return 1.0
    wider_bps = radio.rate_bps(cn0_hz, share_hz * (1 + STEP))
    return math.log(wider_bps / rate_bps) / math.log1p(STEP)

"""Shares in proportion to payloads: fixed for a round, or as weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.channel.radio import Radio
from netsim.core.quantities import Bits
from netsim.sharing.rule import AtEvents, Expected, PerRound, pins


class Proportional(PerRound):
    """Each participant of a round has a fixed share in proportion to its payload."""

    kind: Literal["proportional"] = "proportional"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        total_bits = math.fsum(one.bits for one in expected) or 1.0
        shares = [free_uhz / 1e6 * one.bits / total_bits for one in expected]
        return pins(expected, shares, free_uhz)


class Weighted(AtEvents):
    """Live transfers divide the band in proportion to their payloads, rounded up to
    multiples of ``unit``.

    The share of one unit is a whole number of micro-hertz, so less than one micro-hertz
    per unit stays unused.
    """

    kind: Literal["weighted"] = "weighted"
    unit_bits: Annotated[Bits, Field(gt=0)] = 80_000

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        return [
            (transfer, Terms(weight=-(-transfer.message.bits // self.unit_bits)))
            for transfer in started
        ]

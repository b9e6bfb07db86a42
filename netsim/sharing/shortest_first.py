"""Strict priority by what is left to do, with nothing of the band left idle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.sharing.rule import AtEvents


class ShortestFirst(AtEvents):
    """Who would be done first alone on the band has all of it that its radio can use,
    the next in that order has what is left, and so on; ties go by client id.

    It is the time left that counts, from bits, channel and ceiling, found anew at every
    event by a pass over all who are live: an event costs O(n log n), but touches only
    those whose share changes.
    """

    kind: Literal["shortest-first"] = "shortest-first"

    def divide(
        self,
        started: Sequence[Transfer],
        live: Mapping[int, Transfer],
        band: BandNow,
    ) -> Iterator[tuple[Transfer, Terms]]:
        free_uhz = band.ruled_uhz()
        ruled = [one for one in live.values() if one.is_ruled]
        alone = {one: _alone(one, free_uhz, band) for one in ruled}
        for transfer in sorted(ruled, key=lambda one: (alone[one], one.order)):
            share_uhz = min(transfer.ceiling_uhz or free_uhz, free_uhz)
            if not share_uhz or math.isinf(alone[transfer]):
                yield transfer, Terms(weight=0)
                continue
            yield transfer, Terms(weight=0, pinned_uhz=share_uhz)
            free_uhz -= share_uhz


def _alone(transfer: Transfer, free_uhz: int, band: BandNow) -> float:
    """Return the time left alone on the band, in ns; infinite in an outage."""
    share_uhz = min(transfer.ceiling_uhz or free_uhz, free_uhz)
    speed = share_uhz * band.radio.efficiency_nbit(transfer.cn0_hz, share_uhz)
    return band.work_left(transfer) / speed if speed else math.inf

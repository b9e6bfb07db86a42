"""Strict priority by remaining time, work-conserving."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.sharing.rule import AtEvents


class ShortestFirst(AtEvents):
    """Strict priority for the transfer that would end first with the whole band: it has
    as much of the band as its radio can use, the next has the rest, and so on. Ties go
    to the lower client id.

    The remaining time depends on bits, channel and ceiling. Every event sorts all live
    transfers, O(n log n), but changes only the terms of those whose share changes.
    """

    kind: Literal["shortest-first"] = "shortest-first"

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterator[tuple[Transfer, Terms]]:
        free_uhz = band.ruled_uhz()
        ruled = [one for one in live.values() if one.is_ruled]
        left_ns = {one: _left_ns(one, free_uhz, band) for one in ruled}
        for transfer in sorted(ruled, key=lambda one: (left_ns[one], one.order)):
            share_uhz = min(transfer.ceiling_uhz or free_uhz, free_uhz)
            if not share_uhz or math.isinf(left_ns[transfer]):
                yield transfer, Terms(weight=0)
                continue
            yield transfer, Terms(weight=0, pinned_uhz=share_uhz)
            free_uhz -= share_uhz


def _left_ns(transfer: Transfer, free_uhz: int, band: BandNow) -> float:
    """Return the time to send the rest on the whole band, in ns; infinite in outage."""
    share_uhz = min(transfer.ceiling_uhz or free_uhz, free_uhz)
    speed = share_uhz * band.radio.efficiency_nbit(transfer.cn0_hz, share_uhz)
    return band.work_left(transfer) / speed if speed else math.inf

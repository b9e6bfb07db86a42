"""Strict priority by remaining time, work-conserving."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.sharing.ranking import Ranking
from netsim.sharing.rule import AtEvents

Rank = tuple[float, int]  # nanoseconds left, order


class ShortestFirst(AtEvents):
    """Strict priority for the transfer that would end first with the whole band: it has
    as much of the band as its radio can use, the next has the rest, and so on. Ties go
    to the lower client id.

    The remaining time depends on bits, channel and ceiling. An event costs O(log n)
    for each transfer that starts, has a share or has a new channel.
    """

    kind: Literal["shortest-first"] = "shortest-first"

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterator[tuple[Transfer, Terms]]:
        queue, whole_uhz = band.kept(_Queue), band.ruled_uhz()
        rank = partial(_rank, whole_uhz, band)
        touched = [one for one in (*queue.served, *started) if one.is_live]
        if whole_uhz == queue.whole_uhz:
            queue.ranking.add((*touched, *band.faded), rank)
        else:
            queue.whole_uhz, queue.ranking = whole_uhz, Ranking()
            queue.ranking.add((one for one in live.values() if one.is_ruled), rank)
        served = queue.serve(rank)
        yield from ((one, Terms(0, share_uhz)) for one, share_uhz in served.items())
        for one in sorted((one for one in touched if one not in served), key=rank):
            yield one, Terms(weight=0)


@dataclass(slots=True)
class _Queue:
    """The transfers of a band, those served included."""

    whole_uhz: int = -1  # what the rule divides
    ranking: Ranking[Rank] = field(default_factory=Ranking)
    served: list[Transfer] = field(default_factory=list)

    def serve(self, rank: Callable[[Transfer], Rank]) -> dict[Transfer, int]:
        """Return the shares in micro-hertz of those who have one, by rank."""
        free_uhz, shares = self.whole_uhz, dict[Transfer, int]()
        while free_uhz and (entry := self.ranking.pop(rank)):
            (left_ns, _), one = entry
            if math.isinf(left_ns):
                self.ranking.add([one], rank)
                break
            if one not in shares:
                shares[one] = min(one.ceiling_uhz or free_uhz, free_uhz)
                free_uhz -= shares[one]
        self.served = list(shares)
        return shares


def _rank(whole_uhz: int, band: BandNow, one: Transfer) -> Rank:
    """Return the time to send the rest on the whole band, infinite in outage. While a
    transfer waits it changes with its channel only."""
    share_uhz = min(one.ceiling_uhz or whole_uhz, whole_uhz)
    speed = share_uhz * band.radio.efficiency_nbit(one.cn0_hz, share_uhz)
    return (band.work_left(one) / speed if speed else math.inf), one.order

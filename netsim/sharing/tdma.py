"""TDMA: one transfer has the whole band while the others wait.

If a radio's ceiling limits it, the rest of the band stays idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.sharing.ranking import Ranking
from netsim.sharing.rule import AtEvents

WHOLE_BAND: Final = Terms(weight=1)
NO_SHARE: Final = Terms(weight=0)
Rank = tuple[int, float, int]  # work left, channel, order


class FirstComeTdma(AtEvents):
    """Transfers have the whole band in the order of their starts; ties go to the lower
    client id."""

    kind: Literal["tdma-first-come"] = "tdma-first-come"

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        head = next(iter(live.values()), None)
        return _serve(head, None, started)


class ShortestFirstTdma(AtEvents):
    """The transfer with the fewest remaining bits has the whole band; a new transfer
    with fewer bits preempts it. Ties go to the stronger channel, then to the lower
    client id.

    A start, an end or a new channel costs O(log n).
    """

    kind: Literal["tdma-shortest-first"] = "tdma-shortest-first"

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        queue, rank = band.kept(_Queue), partial(_rank, band)
        before = queue.head if queue.head and queue.head.is_live else None
        queue.ranking.add((*started, *band.faded), rank)
        if before is None:
            _, queue.head = queue.ranking.pop(rank) or (None, None)
        elif started:  # waiting transfers keep their rank, so only new ones can preempt
            queue.ranking.add([before], rank)
            queue.head = min((before, *started), key=rank)
        return _serve(queue.head, before, started)


@dataclass(slots=True)
class _Queue:
    """The transfers of a band: the one that is served, and those that wait."""

    head: Transfer | None = None
    ranking: Ranking[Rank] = field(default_factory=Ranking)


def _serve(
    head: Transfer | None, before: Transfer | None, started: Sequence[Transfer]
) -> Iterator[tuple[Transfer, Terms]]:
    if before is not None and before is not head:
        yield before, NO_SHARE
    for transfer in started:
        if transfer is not head:
            yield transfer, NO_SHARE
    if head is not None:
        yield head, WHOLE_BAND


def _rank(band: BandNow, transfer: Transfer) -> Rank:
    return band.work_left(transfer), -transfer.cn0_hz, transfer.order

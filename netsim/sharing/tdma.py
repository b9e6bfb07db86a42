"""One at a time: the whole band to one transfer while the others wait.

Where the one is held at its radio's ceiling, the rest of the band stays idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.sharing.rule import AtEvents

WHOLE_BAND: Final = Terms(weight=1)
NO_SHARE: Final = Terms(weight=0)


class FirstComeTdma(AtEvents):
    """Who started first has the whole band until it is done; ties go by client id."""

    kind: Literal["tdma-first-come"] = "tdma-first-come"

    def divide(
        self,
        started: Sequence[Transfer],
        live: Mapping[int, Transfer],
        band: BandNow,
    ) -> Iterable[tuple[Transfer, Terms]]:
        head = next(iter(live.values()), None)
        return _serve(head, None, started)


class ShortestFirstTdma(AtEvents):
    """Who has the fewest bits left has the whole band, and gives way to a newcomer with
    fewer; among equals the stronger channel goes first, then the lower client id.

    The next head is found by a pass over those waiting, so an end costs O(n).
    """

    kind: Literal["tdma-shortest-first"] = "tdma-shortest-first"

    def divide(
        self,
        started: Sequence[Transfer],
        live: Mapping[int, Transfer],
        band: BandNow,
    ) -> Iterable[tuple[Transfer, Terms]]:
        before = next((one for one in live.values() if one.weight), None)
        head = before
        if before is None:
            head = min(live.values(), key=_rank, default=None)
        elif started:  # those who wait have more left than the head, as they had
            head = min(started, key=_rank)
            now_left = band.work_left(before), -before.cn0_hz, before.order
            head = before if now_left < _rank(head) else head
        return _serve(head, before, started)


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


def _rank(transfer: Transfer) -> tuple[int, float, tuple[int, int]]:
    return transfer.remaining, -transfer.cn0_hz, transfer.order

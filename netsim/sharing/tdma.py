"""TDMA: one transfer has the whole band while the others wait.

If a radio's ceiling limits it, the rest of the band stays idle.
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

    Every end searches all waiting transfers for the next one, O(n).
    """

    kind: Literal["tdma-shortest-first"] = "tdma-shortest-first"

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        before = next((one for one in live.values() if one.weight), None)
        head = before
        if before is None:
            head = min(live.values(), key=_rank, default=None)
        elif started:  # waiting transfers keep their rank, so only new ones can preempt
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

"""First-come packets: one queue for all, as in a router."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from netsim.band.shared import BandNow
from netsim.band.transfer import WORK_PER_BIT, Terms, Transfer
from netsim.core.quantities import Bits
from netsim.sharing.rule import AtEvents

SHARE: Final = Terms(weight=1)
NO_SHARE: Final = Terms(weight=0)


class FirstCome(AtEvents):
    """Packets leave one queue in the order of their arrival, as in a router without a
    queue per sender, which is kept full by those who have more to send.

    A transfer that starts waits until what was queued before it has left; then all have
    equal shares. Queued is at most ``queue``, and of each transfer an
    ``initial_window`` and as much as it has sent (slow start). A short queue is
    ``processor-sharing``; long windows and a long queue serve one after the other.
    """

    kind: Literal["first-come"] = "first-come"
    queue_bits: Annotated[Bits, Field(gt=0)] = 1_200_000
    initial_window_bits: Annotated[Bits, Field(gt=0)] = 120_000

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        waiting: dict[int, Transfer] = band.kept(dict)
        for one in (*band.ended, *band.due):
            waiting.pop(one.transfer_id, None)
        joining = list(band.due)
        need = self._queued(live, band, {one.transfer_id for one in started})
        for one in started:
            if need:
                waiting[one.transfer_id] = one
                band.ask_after(one, need)
            yield one, NO_SHARE if need else SHARE
        if waiting and len(waiting) == _num_ruled(live):
            joining += _pop_first(waiting)  # nobody else sends: one ahead was cut off
        yield from ((one, SHARE) for one in joining)

    def _queued(
        self, live: Mapping[int, Transfer], band: BandNow, started: set[int]
    ) -> int:
        """Return what the queue needs of the band, in micro-hertz x nanoseconds."""
        if not started:
            return 0
        queued = need = 0
        for one in live.values():
            if one.is_ruled and one.transfer_id not in started:
                speed = band.radio.efficiency_nbit(one.cn0_hz, band.ruled_uhz())
                part = self._part(one, band.work_left(one)) if speed else 0
                queued, need = queued + part, need + part // max(speed, 1)
        most = self.queue_bits * WORK_PER_BIT
        return need if queued <= most else need * most // queued

    def _part(self, one: Transfer, left: int) -> int:
        """Return what a transfer has in a queue without end, in 1e-24 bit."""
        sent = one.message.bits * WORK_PER_BIT - left
        return min(left, self.initial_window_bits * WORK_PER_BIT + sent)


def _num_ruled(live: Mapping[int, Transfer]) -> int:
    return sum(one.is_ruled for one in live.values())


def _pop_first(waiting: dict[int, Transfer]) -> Iterator[Transfer]:
    """Remove and return the transfers that started first."""
    first_ns = next(iter(waiting.values())).start_ns
    for one in list(waiting.values()):
        if one.start_ns == first_ns:
            yield waiting.pop(one.transfer_id)

"""Transfers in outage: when each outage began and when it times out."""

from __future__ import annotations

from heapq import heappop, heappush

from netsim.band.transfer import Transfer
from netsim.core.clock import MAX_NS


class Outages:
    """Live transfers whose efficiency is zero, by the tick of their timeout."""

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._ends: list[tuple[int, int, Transfer]] = []

    def update(self, transfer: Transfer, now_ns: int) -> None:
        """Record whether a transfer is in outage from this tick on."""
        if transfer.efficiency_nbit:
            transfer.outage_since_ns = None
        elif transfer.outage_since_ns is None:
            transfer.outage_since_ns = now_ns
            end_ns = now_ns + self._timeout_ns
            heappush(self._ends, (end_ns, transfer.order, transfer))

    def next_ns(self) -> int:
        """Return the tick of the next timeout, ``MAX_NS + 1`` if there is none."""
        ends = self._ends
        while ends and not self._is_current(ends[0][0], ends[0][2]):
            heappop(ends)
        return ends[0][0] if ends else MAX_NS + 1

    def due(self, now_ns: int) -> list[Transfer]:
        """Return the transfers whose timeout has come, by client id."""
        given_up = []
        while self.next_ns() <= now_ns:
            given_up.append(heappop(self._ends)[2])
        return sorted(given_up, key=lambda transfer: transfer.order)

    def _is_current(self, end_ns: int, transfer: Transfer) -> bool:
        """Return whether an entry belongs to an outage that still lasts."""
        since_ns = transfer.outage_since_ns
        return (
            transfer.is_live
            and since_ns is not None
            and since_ns + self._timeout_ns == end_ns
        )

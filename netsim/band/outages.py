"""Transfers in outage: since when they make no progress, and when they give up."""

from __future__ import annotations

from heapq import heappop, heappush

from netsim.band.transfer import Transfer
from netsim.core.clock import MAX_NS


class Outages:
    """Live transfers whose efficiency is zero, by the tick at which they give up."""

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._ends: list[tuple[int, tuple[int, int], Transfer]] = []

    def note(self, transfer: Transfer, now_ns: int) -> None:
        """Note whether a transfer is in outage from this tick on."""
        if transfer.efficiency_nbit:
            transfer.silent_since_ns = None
        elif transfer.silent_since_ns is None:
            transfer.silent_since_ns = now_ns
            end_ns = now_ns + self._timeout_ns
            heappush(self._ends, (end_ns, transfer.order, transfer))

    def next_ns(self) -> int:
        """Return the next tick at which a transfer gives up, beyond the last if none
        does."""
        ends = self._ends
        while ends and not self._holds(ends[0][0], ends[0][2]):
            heappop(ends)
        return ends[0][0] if ends else MAX_NS + 1

    def due(self, now_ns: int) -> list[Transfer]:
        """Return those that have been in outage for too long by now, by client id."""
        given_up = []
        while self.next_ns() <= now_ns:
            given_up.append(heappop(self._ends)[2])
        return sorted(given_up, key=lambda transfer: transfer.order)

    def _holds(self, end_ns: int, transfer: Transfer) -> bool:
        """Return whether an entry is of an outage that still lasts."""
        since_ns = transfer.silent_since_ns
        return (
            transfer.is_live
            and since_ns is not None
            and since_ns + self._timeout_ns == end_ns
        )

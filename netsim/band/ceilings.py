"""Water-filling under ceilings: which transfers are pinned at their radio's limit."""

from __future__ import annotations

import itertools
from heapq import heappop, heappush

from netsim.band.transfer import Transfer

Entry = tuple[int, int, int, Transfer]  # limit, serial, weight, transfer


class Ceilings:
    """Elastic transfers with a ceiling, ordered by the unit share at which each
    reaches its ceiling.

    A transfer of weight ``w`` and ceiling ``c`` is pinned when ``w * unit > c``, in
    integers ``unit > c // w``. One heap orders the transfers to pin next, the other
    those to free next, so a change costs O(log n).
    """

    def __init__(self) -> None:
        self._free: list[Entry] = []  # lowest limit first
        self._pinned: list[Entry] = []  # highest limit first
        self._serials = itertools.count()

    def watch(self, transfer: Transfer) -> None:
        """Add an elastic transfer in place of its earlier entry; one without a ceiling
        is ignored."""
        transfer.watched = serial = next(self._serials)
        if transfer.ceiling_uhz is None or not transfer.weight:
            return
        limit = transfer.ceiling_uhz // transfer.weight
        if transfer.is_at_ceiling:
            heappush(self._pinned, (-limit, serial, transfer.weight, transfer))
        else:
            heappush(self._free, (limit, serial, transfer.weight, transfer))

    def balance(
        self, spare_uhz: int, weight_sum: int
    ) -> tuple[list[Transfer], list[Transfer]]:
        """Return the transfers to free and those to pin.

        ``spare_uhz`` is the band left to the elastic transfers, ``weight_sum`` the sum
        of their weights. Freeing and pinning only raise the unit share, so one pass
        over each heap is enough.
        """
        freed: list[Transfer] = []
        while entry := _top(self._pinned, is_at_ceiling=True):
            limit, transfer = -entry[0], entry[3]
            ceiling, weight = transfer.ceiling_uhz or 0, transfer.weight
            if (spare_uhz + ceiling) // (weight_sum + weight) > limit:
                break
            heappop(self._pinned)
            spare_uhz, weight_sum = spare_uhz + ceiling, weight_sum + weight
            transfer.is_at_ceiling = False
            self.watch(transfer)
            freed.append(transfer)
        pinned: list[Transfer] = []
        while weight_sum and (entry := _top(self._free, is_at_ceiling=False)):
            limit, transfer = entry[0], entry[3]
            if spare_uhz // weight_sum <= limit:
                break
            heappop(self._free)
            spare_uhz -= transfer.ceiling_uhz or 0
            weight_sum -= transfer.weight
            transfer.is_at_ceiling = True
            self.watch(transfer)
            pinned.append(transfer)
        return freed, pinned


def _top(heap: list[Entry], *, is_at_ceiling: bool) -> Entry | None:
    """Return the first entry that still describes its transfer."""
    while heap:
        _, serial, _, transfer = heap[0]
        if (
            transfer.is_live
            and transfer.pinned_uhz is None
            and transfer.watched == serial
            and transfer.is_at_ceiling == is_at_ceiling
        ):
            return heap[0]
        heappop(heap)
    return None

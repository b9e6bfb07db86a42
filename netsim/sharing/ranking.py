"""Transfers that wait for a share, in order of rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

from netsim.band.transfer import Transfer

Rank = TypeVar("Rank", bound=tuple[Any, ...])  # ends with the transfer's order


@dataclass(slots=True)
class Ranking(Generic[Rank]):
    """A heap of live transfers. A transfer whose rank changes is added again: an entry
    of another rank than the transfer's own is stale, and never returned."""

    heap: list[tuple[Rank, Transfer]] = field(default_factory=list)
    num_checked: int = 32  # entries when stale ones were dropped last

    def add(
        self, transfers: Iterable[Transfer], rank: Callable[[Transfer], Rank]
    ) -> None:
        """Add transfers with their ranks as of now."""
        for one in transfers:
            heappush(self.heap, (rank(one), one))
        if len(self.heap) > 2 * self.num_checked:
            self.heap = [at for at in self.heap if _is_current(at, rank)]
            heapify(self.heap)
            self.num_checked = max(32, len(self.heap))

    def pop(self, rank: Callable[[Transfer], Rank]) -> tuple[Rank, Transfer] | None:
        """Remove and return the first transfer and its rank; None without any."""
        while self.heap:
            entry = heappop(self.heap)
            if _is_current(entry, rank):
                return entry
        return None


def _is_current(entry: tuple[Rank, Transfer], rank: Callable[[Transfer], Rank]) -> bool:
    return entry[1].is_live and entry[0] == rank(entry[1])

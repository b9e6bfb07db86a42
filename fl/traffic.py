"""The bits that a method moves: of every upload, and of what a client has missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fl.aggregation import Compression, Method, VersionRanks
from fl.facts import Facts
from fl.payload import NOTHING, Extent, PartName, Payload, parts_extent


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """One method's messages about one model; ``rank`` is the whole adapter's."""

    method: Method
    facts: Facts
    payload: Payload
    rank: int
    compression: Compression | None = None
    is_truncated: bool = False  # clients of smaller rank have the first columns only

    def bits_up(self, rank: int, round_index: int) -> int:
        """Return the bits of an upload in a round, counted from zero."""
        sent = self.method.exchange(round_index).sends
        extent = parts_extent(sent, self.facts.adapted, rank) + self._rest
        if self.compression is None:
            return self.payload.bits(extent)
        return self.compression.bits(extent.num_numbers)

    def bits_down(
        self, parts: Sequence[PartName], made: Sequence[VersionRanks], rank: int
    ) -> int:
        """Return the bits of some parts of a version's pairs and of what is trained
        outside LoRA, for a client of this rank."""
        is_cut = self.is_truncated and self.method.contract.is_truncated_on_send
        extent = self._rest
        for shape, (width, _) in zip(self.facts.adapted, made, strict=True):
            extent += parts_extent(
                parts, [shape], min(rank, width) if is_cut else width
            )
        return self.payload.bits(extent)

    def fold_bits(self, fold_ranks: Sequence[int]) -> int:
        """Return the bits of folds of these ranks, one per adapted matrix."""
        numbers = 0
        for (num_rows, num_columns), rank in zip(
            self.facts.adapted, fold_ranks, strict=True
        ):
            dense = num_rows * num_columns
            is_dense = rank and self.method.contract.is_fold_dense
            factors = rank * (num_rows + num_columns)
            numbers += dense if is_dense else min(dense, factors)
        return self.payload.bits(Extent(numbers, 0, 0))

    @property
    def _rest(self) -> Extent:
        is_personal = "rest" in self.method.contract.personal
        return NOTHING if is_personal else self.facts.rest


class _Made(NamedTuple):
    """A version by its place in the run, the round that made it, and its ranks."""

    place: int
    round_index: int
    ranks: tuple[VersionRanks, ...]


class Journal:
    """Which versions there were, and so what a client that has an older one misses."""

    def __init__(self, traffic: Traffic, initial_version: str) -> None:
        self.traffic = traffic
        whole = VersionRanks(traffic.rank, 0)
        first = _Made(0, 0, (whole,) * len(traffic.facts.adapted))
        self._made = [first]
        self._by_name = {initial_version: first}

    def note(
        self, version: str, round_index: int, ranks: Sequence[VersionRanks]
    ) -> None:
        """Note a new version, made in a round counted from zero."""
        if version in self._by_name:
            return
        made = _Made(len(self._made), round_index, tuple(ranks))
        self._made.append(made)
        self._by_name[version] = made

    def bits_down(self, want: str, have: str | None, rank: int) -> int:
        """Return the bits that bring a client of this rank from one version to another;
        without one it has what all know before the first round.

        Folds add up over missed versions, up to one dense matrix; pairs do not.
        """
        wanted = self._by_name[want]
        first = self._by_name[have].place if have is not None else 0
        missed = self._made[first + 1 : wanted.place + 1]
        exchange = self.traffic.method.exchange
        rounds = {made.round_index for made in (wanted, *missed)}
        parts = {part for index in rounds for part in exchange(index).receives}
        folds = [
            sum(made.ranks[place].fold for made in missed)
            for place in range(len(wanted.ranks))
        ]
        pairs = self.traffic.bits_down(sorted(parts), wanted.ranks, rank)
        return pairs + self.traffic.fold_bits(folds)

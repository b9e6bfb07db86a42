"""The bits that a method moves: of every upload, and of what a client has missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fl.aggregation import Compression, Method, VersionRanks
from fl.aggregation.method import fold_extent
from fl.model.payload import NOTHING, Extent, PartName, Payload, Shape, parts_extent


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """One method's messages about one model; ``rank`` is the whole adapter's."""

    method: Method
    shapes: Sequence[Shape]  # of the adapted matrices
    rest: Extent  # what is trained outside LoRA
    payload: Payload
    rank: int
    compression: Compression | None = None
    is_truncated: bool = False  # clients of smaller rank have the first columns only
    shares: bool = False  # local training sends as much again as it trains, both ways

    def bits_up(self, rank: int, round_index: int) -> int:
        """Return the bits of an upload in a round, counted from zero."""
        sent = self.method.exchange(round_index).sends
        extent = parts_extent(sent, self.shapes, rank) + self._rest
        besides = self.besides(round_index)
        if self.compression is None:
            return self.payload.bits(extent) + besides
        return self.compression.bits(extent.num_numbers) + besides

    def besides(self, round_index: int) -> int:
        """Return the bits of what local training sends besides, one way."""
        if not self.shares:
            return 0
        trained = self.method.exchange(round_index).trains
        return self.payload.bits(
            parts_extent(trained, self.shapes, self.rank) + self.rest
        )

    def bits_down(
        self, parts: Sequence[PartName], made: Sequence[VersionRanks], rank: int
    ) -> int:
        """Return the bits of some parts of a version's pairs and of what is trained
        outside LoRA, for a client of this rank."""
        is_cut = self.is_truncated and self.method.contract.is_truncated_on_send
        extent = self._rest
        for shape, (width, _) in zip(self.shapes, made, strict=True):
            extent += parts_extent(
                parts, [shape], min(rank, width) if is_cut else width
            )
        return self.payload.bits(extent)

    def fold_bits(self, fold_ranks: Sequence[int], rank: int) -> int:
        """Return the bits of folds of these ranks, one per adapted matrix, for a client
        of this rank."""
        contract, own = self.method.contract, rank if self.is_truncated else self.rank
        extents = (
            fold_extent(contract, shape, fold_rank, own)
            for shape, fold_rank in zip(self.shapes, fold_ranks, strict=True)
        )
        return self.payload.bits(sum(extents, NOTHING))

    @property
    def _rest(self) -> Extent:
        is_personal = "rest" in self.method.contract.personal
        return NOTHING if is_personal else self.rest


class _Made(NamedTuple):
    """A version by the one that it was made of, the round that did, and its ranks."""

    parent: str | None
    round_index: int
    ranks: tuple[VersionRanks, ...]


class Journal:
    """Which versions there were, and so what a client that has another one misses."""

    def __init__(self, traffic: Traffic, initial_version: str) -> None:
        self.traffic = traffic
        whole = VersionRanks(traffic.rank, 0)
        first = _Made(None, 0, (whole,) * len(traffic.shapes))
        self._made = {initial_version: first}

    def note(
        self,
        version: str,
        parent: str,
        round_index: int,
        ranks: Sequence[VersionRanks],
    ) -> None:
        """Note a version, made of another one in a round counted from zero."""
        if version not in self._made:
            self._made[version] = _Made(parent, round_index, tuple(ranks))

    def bits_down(self, want: str, have: str | None, rank: int) -> int:
        """Return the bits that bring a client of this rank from one version to another;
        without one it has what all know before the first round.

        Folds add up over missed versions, up to one dense matrix; pairs do not.
        """
        line, is_ahead = self._since(want, have)
        known = [] if is_ahead or have is None else self._since(have, None)[0]
        missed_or_undone = set(line) ^ set(known)
        rounds = {self._made[name].round_index for name in {want, *missed_or_undone}}
        exchange = self.traffic.method.exchange
        parts = {part for index in rounds for part in exchange(index).receives}
        wanted = self._made[want].ranks
        # a client that must go back takes the base as loaded, and all folds again
        folded = [self._made[name].ranks for name in line]
        folds = [
            sum(ranks[place].fold for ranks in folded) for place in range(len(wanted))
        ]
        pairs = self.traffic.bits_down(sorted(parts), wanted, rank)
        besides = self.traffic.besides(self._made[want].round_index)
        return pairs + self.traffic.fold_bits(folds, rank) + besides

    def _since(self, version: str, have: str | None) -> tuple[list[str], bool]:
        """Return a version and those that it goes back to, as far as one that is had
        already or the very first, both left out, and whether it met the former."""
        line: list[str] = []
        while version != have:
            parent = self._made[version].parent
            if parent is None:
                return line, False
            line.append(version)
            version = parent
        return line, True

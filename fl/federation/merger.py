"""The merges of one federation: from what clients sent, or edge servers hold, to the
next version."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from fl.aggregation.context import MergeContext
from fl.contract import Arrival, Branch, LayerError
from fl.federation.cohort_runner import CohortRunner
from fl.federation.divergence import is_finite
from fl.federation.jobs import JobBook, rank_of
from fl.federation.merging import (
    Component,
    SquaredChanges,
    components,
    merge_adapters,
    next_version,
    squared_changes,
)
from fl.federation.version_cache import VersionCache
from fl.federation.versions import StoredVersion, Version, refolded
from fl.memory.store import Entry
from fl.model.adapters import Adapter, Pair
from fl.settings.federation import FederationSettings
from fl.streams import stream

if TYPE_CHECKING:
    from torch import Tensor

Observer: TypeAlias = Callable[[Sequence[Component], Version, int], None]


class Merger:
    """Computes merges of trained jobs and of held versions."""

    def __init__(
        self,
        learning: FederationSettings,
        versions: VersionCache,
        runner: CohortRunner,
        book: JobBook,
        num_samples: Sequence[int],
        seed: int,
    ) -> None:
        self.observe: Observer | None = None
        self._learning = learning
        self._versions = versions
        self._runner = runner
        self._book = book
        self._num_samples = num_samples
        self._seed = seed

    def merged(
        self, name: str, version: str, arrivals: Sequence[Arrival]
    ) -> Entry[StoredVersion]:
        """Merge what was trained: jobs that diverged are left out, and so are all where
        the merge itself is not finite."""
        outcomes = self._book.outcomes
        steps = {one.ticket: outcomes[one.ticket].diverged_at for one in arrivals}
        lost = {ticket: step for ticket, step in steps.items() if step is not None}
        kept = [one for one in arrivals if one.ticket not in lost]
        void = Entry(StoredVersion("", diverged=steps))
        if not kept or not all(math.isfinite(one.weight) for one in kept):
            return void
        tickets = [one.ticket for one in kept]
        before = self._versions.model(version)
        ends = [self._runner.received(ticket) for ticket in tickets]
        starts = self._starts(version, kept)
        weights = [one.weight for one in kept]
        parts = components(before.adapter, starts, ends, weights)
        turn = self._book.turn(tickets)
        context = self._context(kept)
        adapter, folds, layers = self._merge(parts, before, turn, context)
        shared = self._shared(before, tickets)
        after = next_version(self._learning, before, adapter, folds, turn, shared)
        if not is_finite(after):
            return void
        self._versions.note(name, after)
        changes = self._changes(tickets, ends, weights)
        norms2 = dict(zip(tickets, changes.norms2, strict=True))
        losses = {ticket: outcomes[ticket].loss for ticket in tickets}
        return after.entry(layers, folds, norms2, lost, changes.sum_norm2, losses)

    def _merge(
        self,
        parts: Sequence[Component],
        before: Version,
        turn: int = 1,
        context: MergeContext | None = None,
    ) -> tuple[Adapter, dict[str, Pair], tuple[LayerError, ...]]:
        if self.observe is not None:
            self.observe(parts, before, turn)
        method = self._learning.aggregation
        return merge_adapters(method, parts, before.adapter, context)

    def _context(self, arrivals: Sequence[Arrival]) -> MergeContext:
        """Return what a merge may ask for; its stream is named by its first update."""
        jobs = [self._book.pending[one.ticket] for one in arrivals]
        first = jobs[0].client_id, jobs[0].start_index
        round_id = max(job.round_id for job in jobs)
        return MergeContext(
            round_id=round_id,
            rng=stream(self._seed, "merge", round_id, *first),
            client_ids=tuple(job.client_id for job in jobs),
            weights=tuple(one.weight for one in arrivals),
            losses=tuple(self._book.outcomes[one.ticket].loss for one in arrivals),
        )

    def _shared(self, before: Version, tickets: Sequence[str]) -> Tensor | None:
        """Return what the next version's clients are sent besides, from what
        these sent besides."""
        import torch

        join = self._learning.local_training.demands.shares
        if join is None:
            return None
        sent = [self._book.outcomes[ticket].sent for ticket in tickets]
        rows = [torch.from_numpy(one.copy()) for one in sent if one is not None]
        clients = [self._book.pending[ticket].client_id for ticket in tickets]
        total = sum(self._num_samples)
        shares = [self._num_samples[client] / total for client in clients]
        last = torch.zeros_like(rows[0]) if before.shared is None else before.shared
        return join(last, rows, shares)

    def _starts(self, version: str, arrivals: Sequence[Arrival]) -> list[Adapter]:
        """Return what each client started from: the newest version for a client that
        had its first columns only and now takes the place of its share of the whole,
        and for one whose model is mixed in."""
        newest, starts = self._versions.model(version).adapter, []
        for arrival in arrivals:
            job = self._book.pending[arrival.ticket]
            layout = self._runner.layout(rank_of(job))
            is_whole = job.version != version or layout == newest.layout
            sent = self._versions.sent(job.version, layout.rank)
            starts.append(sent if is_whole and not arrival.is_mixed else newest)
        return starts

    def _changes(
        self, tickets: Sequence[str], ends: Sequence[Adapter], weights: Sequence[float]
    ) -> SquaredChanges:
        """Return how far these jobs moved from what they were sent, squared, in what
        does not stay with the client."""
        jobs = [self._book.pending[ticket] for ticket in tickets]
        starts = [
            self._versions.sent(job.version, end.layout.rank)
            for job, end in zip(jobs, ends, strict=True)
        ]
        personal = self._learning.aggregation.contract.personal
        return squared_changes(starts, ends, weights, without=personal)

    def joined(
        self, name: str, version: str, branches: Sequence[Branch]
    ) -> Entry[StoredVersion]:
        """Return the version after branches that are merged as clients' adapters are,
        and note its model; nothing where it is not finite."""
        before, learning = self._versions.model(version), self._learning
        exchanges = [learning.aggregation.exchange(index) for index in range(2)]
        received = {part for exchange in exchanges for part in exchange.receives}
        sent = []
        for branch in branches:
            made = self._versions.model(branch.version).adapter
            is_same = branch.version == version
            sent.append(made if is_same else learning.as_sent(made, received))
        weights = [branch.weight for branch in branches]
        starts = [before.adapter] * len(branches)
        parts = components(before.adapter, starts, sent, weights)
        adapter, folds, layers = self._merge(parts, before)
        after = Version(adapter, refolded(before, folds), before.memory)
        if not is_finite(after):
            return Entry(StoredVersion(""))
        self._versions.note(name, after)
        return after.entry(layers, folds)

"""The participations of a run: how they are drawn, enlisted, ended and recorded."""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence

from fl.contract import Job, Merged
from netsim.client.participation import (
    Participation,
    Process,
    arrived,
    running,
    task_row,
)
from netsim.client.scene import Scene
from netsim.core.streams import stream
from netsim.policy import Drawn, Ranks, Sampler
from netsim.policy.context import Context, Seen
from netsim.policy.sampler import drawn_by
from netsim.trace.literals import Status


class Participants:
    """Starts participations and ends them in the name of the server."""

    def __init__(self, scene: Scene, ranks: Ranks) -> None:
        self.client_ranks: Sequence[int] | None = None  # where a policy decides them
        self.after_round_id = 0  # the last round before the phase
        self._scene = scene
        self._ranks = ranks
        self._task_ids = itertools.count()
        self._num_starts: dict[int, int] = {}

    def rank(self, client_id: int) -> int | None:
        """Return the rank that a client trains; None without learning."""
        full_rank = self._scene.learner.rank
        if full_rank is None:
            return None
        if self.client_ranks is not None:
            return self.client_ranks[client_id]
        device = self._scene.population.fleet.device(client_id)
        return self._ranks.rank(full_rank, device, self._scene.learner.memory_at)

    def all_ranks(self) -> Sequence[int | None]:
        """Return the :meth:`rank` of every client, computed once per kind of device."""
        learner, fleet = self._scene.learner, self._scene.population.fleet
        full_rank = learner.rank
        if full_rank is None:
            return [None] * len(self._scene.population)
        if self.client_ranks is not None:
            return self.client_ranks
        rank_on, memory_at = self._ranks.rank, learner.memory_at
        return fleet.per_client(
            [rank_on(full_rank, kind, memory_at) for kind in fleet.kinds]
        )

    def draw(self, sampler: Sampler, round_id: int, version: str) -> Drawn:
        """Return the clients that a sampler draws for a round, with their weights."""
        scene = self._scene
        fleet, radio_map = scene.population.fleet, scene.population.radio_map
        context = Context(
            round_id=round_id,
            rng=stream(scene.seed, "sampling", round_id),
            data_weights=scene.population.data_weights,
            version=version,
            device=lambda client_id: fleet.device(client_id).name,
            cell=lambda client_id: radio_map.cell_at(client_id, scene.env.now),
            seen=scene.seen,
            record=lambda name, row: scene.recorder.own.add(name, row),
        )
        return drawn_by(sampler, context)

    def note(self, parts: Sequence[Participation], made: Merged) -> None:
        """Remember what the updates in a merge showed, for the next draw."""
        nothing = [None] * len(parts)
        rows = zip(parts, made.losses or nothing, made.norms2 or nothing, strict=True)
        same: dict[Seen, Seen] = {}  # without learning one for all
        for part, loss, norm2 in rows:
            seen = Seen(part.round_id, loss, norm2)
            self._scene.seen[part.client_id] = same.setdefault(seen, seen)

    def enlist(
        self,
        client_id: int,
        round_id: int,
        version: str,
        weight: float | None = None,
        *,
        is_per_round: bool = True,
    ) -> Participation:
        """Return a new participation that starts from a version.

        Its compute jitter is the round's, the same under every policy, unless a client
        may start more than once in a round.
        """
        start_index = self._num_starts.get(client_id, 0)
        self._num_starts[client_id] = start_index + 1
        rank = self.rank(client_id)
        part = Participation(
            task_id=next(self._task_ids),
            job=Job(
                client_id,
                start_index,
                round_id,
                version,
                rank,
                after_round_id=self.after_round_id,
            ),
            occasion=round_id if is_per_round else start_index,
            held_version=self._scene.held_versions.get(client_id),
            weight=weight,
            download_start_ns=self._scene.env.now,
            waits_for_release=is_per_round,
        )
        self._scene.attendance.watch(part)
        return part

    def enlist_drawn(
        self,
        round_id: int,
        version: str,
        drawn: Sequence[tuple[int, float]],
        *,
        busy: Container[int] = frozenset(),
        place: str = "",
    ) -> list[Participation]:
        """Enlist the drawn clients, given with weights, that are available and not
        busy; mark how many are not."""
        scene = self._scene
        chosen = [
            (client_id, weight)
            for client_id, weight in drawn
            if client_id not in busy and scene.attendance.is_available(client_id)
        ]
        num_missing = len(drawn) - len(chosen)
        if num_missing:
            detail = f"{num_missing} of {len(drawn)} drawn{place and f', {place}'}"
            scene.mark("away or busy", round_id=round_id, detail=detail)
        if not chosen:
            scene.mark("empty round", round_id=round_id, detail=place)
        return [
            self.enlist(client_id, round_id, version, weight)
            for client_id, weight in chosen
        ]

    def missing(self, round_id: int, version: str) -> Job:
        """Return a job of the client with the weakest channel, to which a broadcast
        without receivers is sent."""
        client_id = self._scene.population.radio_map.weakest_client
        return Job(client_id, 0, round_id, version, self.rank(client_id))

    def discard_update(self, part: Participation, status: Status) -> None:
        """Give up an update that has arrived, for a reason."""
        part.discard(status)
        self._scene.learner.withdraw(part.ticket)

    def end_all(
        self, parts: Sequence[Participation], *, cut_as: Status, discard_as: Status
    ) -> Process:
        """End running tasks and discard updates that arrived, at this tick."""
        env = self._scene.env
        for part in arrived(parts):
            self.discard_update(part, discard_as)
        cut = running(parts)
        for part in cut:
            part.cut(cut_as, env.now)
        if cut:
            yield env.all_of([part.process for part in cut if part.process])

    def record_merge(self, parts: Sequence[Participation], round_id: int) -> int:
        """Write participations that a round has merged, unless they failed or diverged,
        and return how many it merged."""
        for part in parts:
            is_merged = part.status == "done"
            self.record(part, merged_round_id=round_id if is_merged else None)
        return len(arrived(parts))

    def record(
        self, part: Participation, *, merged_round_id: int | None = None
    ) -> None:
        """Write a participation that is over; its client is released."""
        scene = self._scene
        row = task_row(scene.population, part, scene.env.now, merged_round_id)
        scene.recorder.tasks.append(row)
        scene.attendance.release(part)

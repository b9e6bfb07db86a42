"""The server's side of a run: rounds, phases and the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fl.contract import Branch, LayerError, Merged, Score
from netsim.client.participation import Participation
from netsim.client.scene import Scene
from netsim.errors import InputError
from netsim.learner.stop import Stop
from netsim.policy import Ranks
from netsim.policy.measuring import Measuring, OfChanges
from netsim.server.evaluations import Evaluations, InForce
from netsim.server.outcome import Samplers
from netsim.server.participants import Participants
from netsim.server.phase import Phase
from netsim.server.versions import Versions
from netsim.trace.rows import Round

MAX_TIMELESS_ROUNDS = 1_000


class Counts(NamedTuple):
    """The participations of a round."""

    num_sampled: int
    num_merged: int  # without the diverged ones
    num_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What a spectator receives when a round ends."""

    round_id: int
    now_ns: int
    num_sampled: int = 0
    num_merged: int = 0
    scores: Sequence[Score] = ()  # none where no evaluation was due
    layers: Sequence[LayerError] = ()  # of this round's merge
    phase: Phase = field(default_factory=Phase)
    num_diverged: int = 0  # of those that arrived


@dataclass(kw_only=True)
class Stage:
    """What every server's story uses, put together once per run."""

    scene: Scene
    ranks: Ranks
    stop: Stop
    watch: Callable[[Progress], None]
    samplers: Callable[[Stage], Samplers] | None = None  # of the policy, if any
    measuring: Measuring = field(default_factory=OfChanges)  # for a policy
    charges_pilots: bool = True  # for `stop.time`
    phase: Phase = field(default_factory=Phase)
    pilot_end_ns: int = 0  # when all of them were over
    predicted: Mapping[str, float] = field(default_factory=dict)  # by the first plan
    constants: dict[str, float] = field(default_factory=dict)  # measured last
    last_round_id: int = 0
    is_over: bool = False
    _num_timeless: int = 0

    def __post_init__(self) -> None:
        self.participants = Participants(self.scene, self.ranks)
        self.versions = Versions(self.scene)
        self.evaluations = Evaluations(self.scene, self.stop)

    @property
    def version(self) -> str:
        """Return the version in force."""
        return self.versions.current

    def in_force(self, round_id: int | None = None) -> InForce:
        """Return version, phase and time, for a round or the last one that ended."""
        now_ns = charged_ns = self.scene.env.now
        if not self.charges_pilots:
            charged_ns -= now_ns if self.phase.is_pilot else self.pilot_end_ns
        round_id = self.last_round_id if round_id is None else round_id
        return InForce(self.version, self.phase, round_id, now_ns, charged_ns)

    def begin(self, probabilities: Sequence[float | None]) -> None:
        """Write population and plan, and evaluate the first version."""
        scene = self.scene
        scene.recorder.write_columns("clients", scene.population.columns())
        self.write_plan(probabilities, round_id=0)
        scene.recorder.flush_full()
        scores = self.evaluations.evaluate(self.in_force())
        self.watch(Progress(0, scene.env.now, scores=scores, phase=self.phase))

    def write_plan(
        self, probabilities: Sequence[float | None], *, round_id: int | None = None
    ) -> None:
        """Write the plan in force from a round, or the next one, on, with the rank of
        every client."""
        num_clients = len(probabilities)
        columns = (
            np.full(
                num_clients, self.last_round_id + 1 if round_id is None else round_id
            ),
            np.arange(num_clients),
            probabilities,
            self.participants.all_ranks(),
        )
        self.scene.recorder.write_columns("plans", columns)

    def train_after_pilots(self, version: str) -> None:
        """Start to train from a version, and evaluate it; all before were pilots."""
        self.pilot_end_ns = self.scene.env.now
        self.start_phase(Phase(after_round_id=self.last_round_id), version)
        self.evaluations.evaluate(self.in_force())

    def start_phase(self, phase: Phase, version: str) -> None:
        """Start a phase from a version; the one before was in force until now."""
        self.evaluations.end_phase(self.in_force())
        self.phase, self.versions.current = phase, version
        self.participants.after_round_id = phase.after_round_id

    def piloted(self) -> tuple[int, int]:
        """Return the rounds of pilots so far, and their nanoseconds."""
        if self.phase.is_pilot:
            return self.last_round_id, self.scene.env.now
        return self.phase.after_round_id, self.pilot_end_ns

    def merge(
        self, round_id: int, parts: Sequence[Participation], *, is_mixed: bool = False
    ) -> Merged:
        """Merge what arrived into a new version in force, and return what came of
        it."""
        self.evaluations.evaluate_marks(self.in_force())
        examined = self.evaluations.examined(round_id, parts)
        merged = self.versions.merge(round_id, parts, examined, is_mixed=is_mixed)
        self.evaluations.write(self.in_force(round_id), merged.scores)
        return merged

    def join(self, round_id: int, branches: Sequence[Branch]) -> None:
        """Merge what edge servers made of the version in force into a new one."""
        self.evaluations.evaluate_marks(self.in_force())
        self.versions.join(round_id, branches)

    def write_round(
        self, round_id: int, start_ns: int, counts: Counts, *, server_id: int = 0
    ) -> None:
        """Write a round of one server that ends now."""
        times = start_ns, self.scene.env.now
        row = Round(round_id, server_id, self.phase.kind, *times, *counts)
        self.scene.recorder.rounds.append(row)

    def end_round(
        self,
        round_id: int,
        start_ns: int,
        counts: Counts,
        *,
        server_id: int = 0,
        is_deserted: bool = False,
    ) -> Sequence[Score]:
        """Write a finished round, decide whether the run ends, and return the round's
        scores if due; a run that no client will join again ends."""
        self.write_round(round_id, start_ns, counts, server_id=server_id)
        now = self.in_force(round_id)
        scores, reason = self.evaluations.end_round(
            now, self.last_round_id, is_deserted=is_deserted
        )
        self.scene.recorder.flush_full()
        self.last_round_id = round_id
        self._require_progress(start_ns)
        if reason:
            self.is_over = True
            self.scene.mark("stop", round_id=round_id, detail=reason)
        self.watch(
            Progress(
                round_id,
                now.time_ns,
                counts.num_sampled,
                counts.num_merged,
                scores,
                self.versions.last_layers,
                self.phase,
                self.versions.num_diverged,
            )
        )
        self.versions.num_diverged = 0
        return scores

    def _require_progress(self, start_ns: int) -> None:
        """Refuse a run whose rounds take no time and whose end is a time."""
        is_timeless = self.scene.env.now == start_ns
        self._num_timeless = self._num_timeless + 1 if is_timeless else 0
        if self._num_timeless >= MAX_TIMELESS_ROUNDS and self.stop.rounds is None:
            raise InputError(
                f"{MAX_TIMELESS_ROUNDS} rounds in a row took no simulated time, so "
                "`stop.time` is never reached; give sizes, work, `announce_time` or "
                "`merge_time` a duration, or set `stop.rounds`"
            )

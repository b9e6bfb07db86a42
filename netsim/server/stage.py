"""What a server's story plays on: cells and clients, a learner and the trace."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fl.contract import Branch, Job, LayerError, Merged, Score
from netsim.band import OwnLinks, SharedBand, Terms
from netsim.client.attendance import Attendance
from netsim.client.cells import Cells
from netsim.client.participation import (
    Participation,
    Process,
    take_part,
    task_row,
)
from netsim.core.engine import Engine
from netsim.errors import InputError
from netsim.learner.learner import Learner
from netsim.learner.stop import Stop
from netsim.policy import Ranks, Sampler
from netsim.policy.planner import Planner
from netsim.population import Direction, Population
from netsim.scenario.traits import Traits
from netsim.server.evaluations import Scoring
from netsim.server.phase import Leg
from netsim.server.policies.policy import Course, Policy, as_given
from netsim.server.round_timing import RoundTiming
from netsim.trace.literals import EventKind, Status
from netsim.trace.rows import Event, Merge, Round

if TYPE_CHECKING:
    from netsim.trace.writer import (
        Recorder,
    )  # brings pyarrow, which a check has no need of

SERVER_ID = 0
MAX_TIMELESS_ROUNDS = 1_000


class ServerStory(Protocol):
    """How a server works, as a process that plays on a stage."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    @property
    def traits(self) -> Traits:
        """Return what it declares about its rounds and its merges."""

    @property
    def sampling(self) -> Sampler | None:
        """Return who draws; nothing where a policy or the server itself does."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Return its settings that must not exceed the number of clients, by key."""

    @property
    def round_timing(self) -> RoundTiming | None:
        """Return a round's own times; nothing where clients do not start together."""

    def play(self, stage: Stage) -> Process:
        """Run until the stage says that the run is over."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a spectator is told when a round ends."""

    round_id: int
    now_ns: int
    num_sampled: int = 0
    num_merged: int = 0
    scores: Sequence[Score] = ()  # none where no evaluation was due
    layers: Sequence[LayerError] = ()  # of this round's merge
    leg: Leg = field(default_factory=Leg)
    num_diverged: int = 0  # of those that arrived


@dataclass(kw_only=True)
class Stage:
    """The parts that every story uses, put together once per run."""

    env: Engine
    seed: int
    population: Population
    cells: Cells
    links: OwnLinks | None  # what clients send on, where these are their own
    learner: Learner
    recorder: Recorder
    stop: Stop
    ranks: Ranks
    watch: Callable[[Progress], None]
    policy: Policy | None = None
    planner: Planner | None = None  # where there is a policy
    client_ranks: Sequence[int] | None = None  # where the policy decides them
    leg: Leg = field(default_factory=Leg)
    pilot_end_ns: int = 0  # when all of them were over
    predicted: Mapping[str, float] = field(default_factory=dict)  # by the first plan
    version: str = ""
    last_round_id: int = 0
    is_over: bool = False
    _task_ids: itertools.count[int] = field(default_factory=itertools.count)
    _num_starts: dict[int, int] = field(default_factory=dict)
    _has: dict[int, str] = field(default_factory=dict)  # each client's newest version
    _num_events: int = 0
    _num_timeless: int = 0
    _last_layers: Sequence[LayerError] = ()
    _num_diverged: int = 0  # since the last round's end

    def __post_init__(self) -> None:
        self.attendance = Attendance(self)
        self.scoring = Scoring(self)
        self.hushed = self.env.event()  # when broadcasts are cut next

    def band(self, cell_id: int, direction: Direction) -> SharedBand:
        """Return a cell's band in one direction."""
        return self.cells.bands[cell_id, direction]

    def rank(self, client_id: int) -> int | None:
        """Return the rank that a client trains, if anything is trained."""
        full_rank = self.learner.rank
        if full_rank is None:
            return None
        if self.client_ranks is not None:
            return self.client_ranks[client_id]
        device = self.population.fleet.device(client_id)
        return self.ranks.rank(full_rank, device, self.learner.memory_at)

    def ranks_in_force(self) -> Sequence[int | None]:
        """Return everybody's :meth:`rank`, found once for each kind of device."""
        full_rank, fleet = self.learner.rank, self.population.fleet
        if full_rank is not None and self.client_ranks is not None:
            return self.client_ranks
        if full_rank is None:
            return [None] * len(self.population)
        memory_at = self.learner.memory_at
        return fleet.per_client(
            [self.ranks.rank(full_rank, kind, memory_at) for kind in fleet.kinds]
        )

    def job(self, client_id: int, start_index: int, round_id: int) -> Job:
        """Return a job from the present version."""
        rank = self.rank(client_id)
        return Job(client_id, start_index, round_id, self.version, rank)

    def enlist(
        self,
        client_id: int,
        round_id: int,
        weight: float | None,
        *,
        is_per_round: bool = True,
        version: str | None = None,
    ) -> Participation:
        """Return a new participation that starts from the present version, or another.

        Its compute jitter is the round's, whatever else the policy does, unless a
        client may start more than once in a round.
        """
        start_index = self._num_starts.get(client_id, 0)
        self._num_starts[client_id] = start_index + 1
        part = Participation(
            task_id=next(self._task_ids),
            client_id=client_id,
            round_id=round_id,
            start_index=start_index,
            occasion=round_id if is_per_round else start_index,
            version=self.version if version is None else version,
            has=self._has.get(client_id),
            rank=self.rank(client_id),
            weight=weight,
            download_start_ns=self.env.now,
            waits=is_per_round,
        )
        self.attendance.watch(part)
        return part

    def start(
        self,
        part: Participation,
        terms: Terms | None,
        at_end: Callable[[Participation], None],
    ) -> None:
        """Let a client play its part, in a process of its own."""

        def play() -> Process:
            yield from take_part(self, part, terms)
            at_end(part)

        part.process = self.env.process(play())

    def cut(self, part: Participation, status: Status) -> None:
        """End a running part at this tick, for a reason."""
        if part.process is not None:
            part.process.interrupt(status)
        else:  # nothing has come of it but a broadcast, which goes on without it
            part.status, part.end_ns = status, self.env.now

    def hush(self) -> None:
        """Cut the broadcasts under way at this tick."""
        self.hushed.succeed()
        self.hushed = self.env.event()

    def lose(self, part: Participation, status: Status) -> None:
        """Give up an update that has arrived, for a reason."""
        part.status = status
        self.learner.withdraw(part.ticket)

    def record(
        self, part: Participation, *, merged_round_id: int | None = None
    ) -> None:
        """Write a part that is over; its client is released."""
        self.recorder.tasks.append(
            task_row(self.population, part, self.env.now, merged_round_id)
        )
        self.attendance.release(part)

    def note_download(self, part: Participation) -> None:
        """Note that a client has the version that it was sent."""
        self._has[part.client_id] = part.version

    def common_bits(self, round_id: int, parts: Sequence[Participation]) -> int:
        """Return the bits of a broadcast: of whom among its receivers needs most, or,
        without any, of the present version for who has the one before."""
        if not parts:
            nobody = self.job(self.population.radio_map.weakest_client, 0, round_id)
            return self.learner.bits_down(nobody, self.version)[0]
        return max(self.learner.bits_down(p.job(), p.has)[0] for p in parts)

    def begin(self, probabilities: Sequence[float | None]) -> None:
        """Write the population and the plan in force, and score the first version."""
        recorder = self.recorder
        self.version = self.learner.initial_version
        recorder.write_columns("clients", self.population.columns())
        self.adopt(0, probabilities)
        recorder.flush_full()
        self.scoring.score(0)
        self.watch(Progress(0, self.env.now, scores=self.scoring.last, leg=self.leg))

    def course(self, sampling: Sampler | None) -> Course:
        """Return who draws round after round: the policy's choice, or as given."""
        if self.policy is None:
            assert sampling is not None, "without a policy somebody must draw"
            return as_given(self, sampling)
        return self.policy.course(self, sampling)

    def adopt(self, round_id: int, probabilities: Sequence[float | None]) -> None:
        """Write the plan in force from a round on, with everybody's rank."""
        num_clients = len(probabilities)
        columns = (
            np.full(num_clients, round_id),
            np.arange(num_clients),
            probabilities,
            self.ranks_in_force(),
        )
        self.recorder.write_columns("plans", columns)

    def train_after_pilots(self, version: str) -> None:
        """Go on from a version, scored anew; what lies behind were pilots."""
        self.pilot_end_ns = self.env.now
        self.start_leg(Leg(after_round_id=self.last_round_id), version)
        self.scoring.score(self.last_round_id)

    def start_leg(self, leg: Leg, version: str) -> None:
        """Let a leg begin from a version; the one before was in force until now."""
        self.scoring.end_leg()
        self.leg, self.version = leg, version

    def piloted(self) -> tuple[int, int]:
        """Return the rounds of pilots so far, and their nanoseconds."""
        if self.leg.is_pilot:
            return self.last_round_id, self.env.now
        return self.leg.after_round_id, self.pilot_end_ns

    def end_round(
        self,
        round_id: int,
        start_ns: int,
        *,
        num_sampled: int,
        num_merged: int,
        num_dropped: int = 0,
        server_id: int = SERVER_ID,
        is_deserted: bool = False,
    ) -> Sequence[Score]:
        """Write a finished round, see whether to stop, and return its scores if due;
        where nobody will ever be there again it is the last."""
        recorder, now_ns = self.recorder, self.env.now
        recorder.rounds.append(
            Round(
                round_id,
                server_id,
                self.leg.phase,
                start_ns,
                now_ns,
                num_sampled,
                num_merged,
                num_dropped,
            )
        )
        scores, reason = self.scoring.verdict(round_id, is_deserted=is_deserted)
        recorder.flush_full()
        self.last_round_id = round_id
        self._require_progress(start_ns)
        if reason:
            self.is_over = True
            self.mark("stop", round_id=round_id, detail=reason)
        self.watch(
            Progress(
                round_id,
                now_ns,
                num_sampled,
                num_merged,
                scores,
                self._last_layers,
                self.leg,
                self._num_diverged,
            )
        )
        self._num_diverged = 0
        return scores

    def merge(
        self, round_id: int, parts: Sequence[Participation], *, is_mixed: bool = False
    ) -> Sequence[float | None]:
        """Merge what arrived into a new version, write how good the merge is, and
        return the squared norms of the changes, where learning knows them. A part whose
        numbers are not finite is left out, and its status says so."""
        self.scoring.score_marks()
        merged = self.learner.merge(
            self.version,
            [part.arrival(is_mixed=is_mixed) for part in parts],
            self.scoring.examined(round_id, parts),
        )
        self.version = merged.version
        self._note_diverged(round_id, parts, merged)
        self.scoring.write(round_id, self.env.now, merged.scores)
        self._last_layers = merged.layers
        self.recorder.merges.extend(Merge(round_id, *layer) for layer in merged.layers)
        return merged.norms2 or [None] * len(parts)

    def merge_into(
        self, version: str, round_id: int, parts: Sequence[Participation]
    ) -> str:
        """Merge what arrived at an edge server into its version, return the new one,
        and write how good the merge is."""
        merged = self.learner.merge(version, [part.arrival() for part in parts])
        self._note_diverged(round_id, parts, merged)
        self.recorder.merges.extend(Merge(round_id, *layer) for layer in merged.layers)
        return merged.version

    def join(self, round_id: int, branches: Sequence[Branch]) -> None:
        """Merge what edge servers made of the version in force into a new one, and
        write how good the merge is."""
        self.scoring.score_marks()
        if all(branch.version == self.version for branch in branches):
            return  # nobody has arrived anywhere
        self.learner.hold([self.version, *(branch.version for branch in branches)])
        joined = self.learner.join(self.version, branches, round_id=round_id)
        self.learner.hold([joined.version])
        self.version, self._last_layers = joined.version, joined.layers
        self.recorder.merges.extend(Merge(round_id, *layer) for layer in joined.layers)

    def _note_diverged(
        self, round_id: int, parts: Sequence[Participation], merged: Merged
    ) -> None:
        """Say whose numbers were left out of a merge."""
        self._num_diverged += len(merged.diverged)
        for part in parts:
            if part.ticket in merged.diverged:
                part.status = "diverged"
                why = merged.diverged[part.ticket]
                self.mark(
                    "diverged", round_id=round_id, client_id=part.client_id, detail=why
                )

    def version_bits(self, version: str, round_id: int) -> int:
        """Return the bits of a whole version, for who has none."""
        job = Job(0, 0, round_id, version, self.learner.rank)
        return self.learner.bits_down(job, None)[0]

    def mark(
        self,
        kind: EventKind,
        *,
        round_id: int | None = None,
        client_id: int | None = None,
        detail: str = "",
    ) -> None:
        """Write a mark for the timeline."""
        self.recorder.events.append(
            Event(self._num_events, self.env.now, kind, round_id, client_id, detail)
        )
        self._num_events += 1

    def _require_progress(self, start_ns: int) -> None:
        """Refuse a run whose rounds take no time and whose end is a time."""
        self._num_timeless = self._num_timeless + 1 if self.env.now == start_ns else 0
        if self._num_timeless >= MAX_TIMELESS_ROUNDS and self.stop.rounds is None:
            raise InputError(
                f"{MAX_TIMELESS_ROUNDS} rounds in a row took no simulated time, so "
                "`stop.time` is never reached; give sizes, work, `announce_time` or "
                "`merge_time` a duration, or set `stop.rounds`"
            )

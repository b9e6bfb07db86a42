"""What a server's story plays on: one cell, its clients, a learner and the trace."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from netsim.band import SharedBand, Terms
from netsim.engine import Engine
from netsim.errors import InputError
from netsim.policy import Ranks
from netsim.population import Population
from netsim.protocol.learner import Job, LayerError, Learner, Score
from netsim.protocol.participation import Participation, Process
from netsim.protocol.stop import Stop
from netsim.sharing import Expected
from netsim.trace.rows import Event, Plan, Round

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


@dataclass(kw_only=True)
class Stage:
    """The parts that every story uses, put together once per run."""

    env: Engine
    seed: int
    population: Population
    uplink: SharedBand
    downlink: SharedBand
    learner: Learner
    recorder: Recorder
    stop: Stop
    ranks: Ranks
    watch: Callable[[Progress], None]
    version: str = ""
    last_round_id: int = 0
    last_scores: Sequence[Score] = ()
    is_over: bool = False
    _task_ids: itertools.count[int] = field(default_factory=itertools.count)
    _num_starts: dict[int, int] = field(default_factory=dict)
    _has: dict[int, str] = field(default_factory=dict)  # each client's newest version
    _num_events: int = 0
    _num_timeless: int = 0
    _last_layers: Sequence[LayerError] = ()

    def rank(self, client_id: int) -> int | None:
        """Return the rank that a client trains, if anything is trained."""
        full_rank = self.learner.rank
        if full_rank is None:
            return None
        return self.ranks.rank(full_rank, self.population.device(client_id))

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
    ) -> Participation:
        """Return a new participation that starts from the present version.

        Its compute jitter is the round's, whatever else the policy does, unless a
        client may start more than once in a round.
        """
        start_index = self._num_starts.get(client_id, 0)
        self._num_starts[client_id] = start_index + 1
        return Participation(
            task_id=next(self._task_ids),
            client_id=client_id,
            round_id=round_id,
            start_index=start_index,
            occasion=round_id if is_per_round else start_index,
            version=self.version,
            has=self._has.get(client_id),
            rank=self.rank(client_id),
            weight=weight,
            download_start_ns=self.env.now,
        )

    def note_download(self, part: Participation) -> None:
        """Note that a client has the version that it was sent."""
        self._has[part.client_id] = part.version

    def common_bits(self, round_id: int, parts: Sequence[Participation]) -> int:
        """Return the bits of a broadcast: of whom among its receivers needs most, or,
        without any, of the present version for who has the one before."""
        if not parts:
            nobody = self.job(self.population.weakest_client, 0, round_id)
            return self.learner.bits_down(nobody, self.version)[0]
        return max(self.learner.bits_down(p.job(), p.has)[0] for p in parts)

    def reserve(self, parts: Sequence[Participation]) -> dict[int, Terms]:
        """Return the uplink shares that the rule fixes for a round, if any."""
        uplink = self.population.cell.uplink
        if not uplink.sharing.plans_rounds or not parts:
            return {}
        expected = [self._expected(part, len(parts)) for part in parts]
        return uplink.sharing.reserve(expected, self.uplink.free_uhz(), uplink.radio)

    def begin(self, probabilities: Sequence[float | None]) -> None:
        """Write the population and the plan in force, and score the first version."""
        recorder = self.recorder
        self.version = self.learner.initial_version
        recorder.clients.extend(self.population.rows())
        recorder.plans.extend(
            Plan(0, client_id, probability, self.rank(client_id))
            for client_id, probability in enumerate(probabilities)
        )
        recorder.flush_full()
        self._score(0)
        self.watch(Progress(0, self.env.now, scores=self.last_scores))

    def end_round(
        self,
        round_id: int,
        start_ns: int,
        *,
        num_sampled: int,
        num_merged: int,
        num_dropped: int = 0,
    ) -> None:
        """Write a finished round, score its version, and see whether to stop."""
        recorder, now_ns = self.recorder, self.env.now
        recorder.rounds.append(
            Round(
                round_id,
                SERVER_ID,
                "train",
                start_ns,
                now_ns,
                num_sampled,
                num_merged,
                num_dropped,
            )
        )
        scores, reason = self._verdict(round_id)
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
            )
        )

    def merge(self, round_id: int, parts: Sequence[Participation]) -> None:
        """Merge what arrived into a new version and write how good the merge is."""
        merged = self.learner.merge(self.version, [part.arrival() for part in parts])
        self.version = merged.version
        self._last_layers = merged.layers
        self.recorder.merges.extend(layer.row(round_id) for layer in merged.layers)

    def mark(
        self,
        kind: str,
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

    def _verdict(self, round_id: int) -> tuple[Sequence[Score], str]:
        """Return the scores where they are due, and why the run ends here, if so."""
        is_due = round_id % self.learner.evaluate_every == 0
        scores = self._score(round_id) if is_due else ()
        reason = self.stop.reason(round_id, self.env.now, scores)
        if reason and not is_due:  # the final version is always scored
            scores = self._score(round_id)
            reason = self.stop.reason(round_id, self.env.now, scores)
        return scores, reason

    def _score(self, round_id: int) -> Sequence[Score]:
        self.last_scores = self.learner.evaluate(self.version)
        self.recorder.evals.extend(
            score.row(round_id, "train", self.env.now) for score in self.last_scores
        )
        return self.last_scores

    def _expected_download_s(self, part: Participation, num_parts: int) -> float:
        """Return how long a client's own download may take, at an equal share."""
        common, private = self.learner.bits_down(part.job(), part.has)
        bits = private if part.download_end_ns is not None else common + private
        if not bits:
            return 0.0
        downlink = self.population.cell.downlink
        cn0_hz = self.population.effective_cn0_hz(part.client_id, "down")
        return bits / downlink.radio.rate_bps(cn0_hz, downlink.band_hz / num_parts)

    def _expected(self, part: Participation, num_parts: int) -> Expected:
        population = self.population
        ceiling_hz = population.config.radio_band_hz
        job = part.job()
        compute_s = population.expected_compute_s(
            part.client_id, self.learner.flop(job)
        )
        return Expected(
            part.client_id,
            compute_s + self._expected_download_s(part, num_parts),
            self.learner.bits_up(job),
            population.effective_cn0_hz(part.client_id, "up"),
            *(() if ceiling_hz is None else (ceiling_hz,)),
        )

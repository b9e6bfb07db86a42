"""A server's samplers and plans, played again over the recorded rounds.

A policy runs as it did in the run. Only what learning measured, the clients' norms and
their exponent, is taken from the trace.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from fl.contract import Score
from netsim.client.participation import Participation
from netsim.core.streams import stream
from netsim.cosim.policy_setup import build_planner
from netsim.errors import InputError
from netsim.policy import Drawn, Sampler
from netsim.policy.context import Context, Seen
from netsim.policy.noise_scale import Estimated, RoundMoments, rank_exponent
from netsim.policy.pilots import Measured, Update, norm_exponent
from netsim.policy.sampler import FloatArray, drawn_by
from netsim.policy.surrogate import Exponent, Norms
from netsim.server.outcome import Outcome, Samplers, global_loss
from netsim.server.phase import Phase
from netsim.server.policies.policy import as_given
from netsim.server.stage import Stage
from netsim.trace.rows import Estimate, Round
from netsim.verify.clients import given_ranks
from netsim.verify.known import Known, Unknown
from netsim.verify.marks import Mark
from netsim.verify.trace import Trace

Plan = tuple[int, Sequence[float | None], Sequence[int]]  # from a round on
NAN = math.nan
REFUSED = (InputError, ArithmeticError, ValueError)  # by a policy, of what is stated


class Broken(Exception):
    """Why a policy cannot have gone on as the trace says."""


class Planning:
    """What the policy, or the server's sampling, planned in a run."""

    def __init__(self, trace: Trace, known: Known) -> None:
        self.samplers: dict[int, Sampler] = {}  # by round
        self.broken = ""
        self._stage = stage = _Stage(trace, known)
        try:
            for round_id, sampler in stage.play():
                self.samplers[round_id] = sampler
        except Broken as reason:
            self.broken = str(reason)
        except REFUSED as error:
            self.broken = f"the policy ends with: {error}"

    @property
    def plans(self) -> list[Plan]:
        """Return probability and rank of every client, by the first round."""
        return self._stage.plans

    @property
    def estimates(self) -> list[Estimate]:
        """Return the policy's estimates, in the order in which it made them."""
        return self._stage.estimates

    @property
    def marks(self) -> list[Mark]:
        """Return the policy's events."""
        return self._stage.marks

    def draw(self, round_id: int) -> Drawn:
        """Return the clients that were drawn for a round, with their weights."""
        if round_id not in self.samplers:
            raise Unknown(self.broken or "neither a policy nor `sampling` draws")
        scene = self._stage.scene
        fleet, radio_map = scene.population.fleet, scene.population.radio_map
        context = Context(
            round_id=round_id,
            rng=stream(scene.seed, "sampling", round_id),
            data_weights=scene.population.data_weights,
            version="",
            device=lambda client_id: fleet.device(client_id).name,
            cell=lambda client_id: radio_map.cell_at(
                client_id, self._stage.start_ns(round_id)
            ),
            seen=self._stage.seen_before(round_id),
        )
        return drawn_by(self.samplers[round_id], context)


def planning(trace: Trace, known: Known) -> Planning:
    """Return what was planned in a run, played once for all checks of its trace."""
    return trace.once("planning", lambda: Planning(trace, known))


class _Stage:
    """What a policy uses of a server's stage."""

    def __init__(self, trace: Trace, known: Known) -> None:
        learning = known.scenario.learning.federated
        self._trace = trace
        self._known = known
        self._ranks = given_ranks(known)
        self.plans: list[Plan] = []
        self.estimates: list[Estimate] = []
        self.marks: list[Mark] = []
        self.stop = known.scenario.stop
        self.measuring = _Stated(trace, self)
        self.last_round_id = 0
        self.version = ""
        self.predicted: Mapping[str, float] = {}
        self.constants: dict[str, float] = {}
        self._env = SimpleNamespace(now=0)
        self._scores = _scores(trace)
        first = [row for row in trace.evals if row.client_id is None]
        self.evaluations = SimpleNamespace(last=first[:1])
        self.participants: Any = SimpleNamespace(client_ranks=None, rank=self._rank)
        self.scene = SimpleNamespace(
            seed=known.scenario.seed,
            population=known.population,
            learner=SimpleNamespace(
                rank=None if learning is None else learning.lora.r, initial_version=""
            ),
            env=self._env,
            recorder=self,
            mark=self._mark,
        )

    def play(self) -> Iterator[tuple[int, Sampler]]:
        """Play all rounds and yield the sampler of each."""
        samplers = self._samplers()
        if samplers is None:
            self.begin([None] * self._known.num_clients)
            return
        sampler = next(samplers)
        ends = dict(self._known.outages)
        updates = self._updates()
        rows = [r for r in self._trace.rounds if r.server_id != self._trace.cloud_id]
        rounds = sorted({row.round_id: row for row in rows}.items())
        for place, (round_id, row) in enumerate(rounds, start=1):
            yield round_id, sampler
            self.last_round_id = round_id
            self._env.now = ends.get(row.end_ns, row.end_ns)
            if place < len(rounds):
                outcome = _Outcome(updates[round_id], self._scores_of(row))
                sampler = samplers.send(cast(Outcome, outcome))

    def start_ns(self, round_id: int) -> int:
        """Return the tick at which a round began."""
        rounds = self._trace.rounds
        return min(row.start_ns for row in rounds if row.round_id == round_id)

    def seen_before(self, round_id: int) -> dict[int, Seen]:
        """Return what the merges before a round's draw showed, by client; edge servers
        draw all rounds up to the cloud's next merge at once."""
        if not self._trace.updates:
            return {}
        rules, trace = self._known.rules.rounds, self._trace
        assert rules is not None, "who draws works in rounds"
        first = round_id - (round_id - 1) % rules.rounds_per_draw
        tasks = trace.once("by id", lambda: {one.task_id: one for one in trace.tasks})
        found: dict[int, Seen] = {}
        for row in trace.updates:
            task = tasks.get(row.task_id)
            if task is not None and row.round_id < first:
                found[task.client_id] = Seen(task.round_id, row.loss, row.norm2)
        return found

    def begin(self, probabilities: Sequence[float | None]) -> None:
        self.write_plan(probabilities, round_id=0)

    def write_plan(
        self, probabilities: Sequence[float | None], *, round_id: int | None = None
    ) -> None:
        first_id = self.last_round_id + 1 if round_id is None else round_id
        decided = self.participants.client_ranks
        ranks = self._ranks if decided is None else decided
        self.plans.append((first_id, probabilities, ranks))

    def start_phase(self, phase: Phase, version: str) -> None:
        """Do nothing: phases stand in the rounds."""

    def train_after_pilots(self, version: str) -> None:
        """Do nothing: phases stand in the rounds."""

    def _samplers(self) -> Samplers | None:
        """Return the samplers of the policy, or of the server; None where it draws
        among idle clients."""
        known, stage = self._known, cast(Stage, self)
        if known.policy is not None:
            for name in known.policy_rules.reads:
                known.require_as_it_was(name)
            planner = build_planner(known.scenario, known.learner, known.population)
            assert planner is not None, "a policy has a planner"
            if known.policy_rules.pilots and not self.evaluations.last:
                raise Broken("pilots begin with a version that is scored")
            return known.policy.samplers(stage, planner)
        sampling = known.server.sampling
        return None if sampling is None else as_given(stage, sampling)

    def _rank(self, client_id: int) -> int | None:
        own = self.participants.client_ranks
        rank: int = self._ranks[client_id] if own is None else own[client_id]
        return rank

    def _mark(
        self, kind: Any, *, round_id: int | None = None, detail: str = ""
    ) -> None:
        self.marks.append((self._env.now, kind, round_id, None, detail))

    def _updates(self) -> dict[int, list[Update]]:
        """Return who changed the model in each round; how far only learning knows."""
        whole = self.scene.learner.rank or 1
        has_norms = {row.round_id for row in self._trace.merges}
        found: dict[int, list[Update]] = defaultdict(list)
        for task in self._trace.tasks if has_norms else ():
            if task.merged_round_id in has_norms:
                ratio = whole / (task.rank or 1)
                one = Update(task.client_id, ratio, 1.0, task.round_id)
                found[task.merged_round_id].append(one)
        return found

    def _scores_of(self, row: Round) -> Sequence[Score]:
        """Return the scores of a round's version, if it was evaluated at its end."""
        found = self._scores.get((row.round_id, row.phase, None, row.end_ns), [])
        learning = self._known.scenario.learning.federated
        return found[: 1 if learning is None else len(learning.evaluation.splits)]


def _scores(trace: Trace) -> dict[tuple[object, ...], list[Score]]:
    """Return the scores by round, phase, client and tick, in order."""
    found: dict[tuple[object, ...], list[Score]] = defaultdict(list)
    for row in trace.evals:
        found[row[:4]].append(Score(*row[4:]))
    return found


class _Stated:
    """What the trace says that learning measured for the next round."""

    def __init__(self, trace: Trace, stage: _Stage) -> None:
        self._stage = stage
        self._rows: dict[tuple[int, str], list[Estimate]] = defaultdict(list)
        for row in trace.estimates:
            self._rows[row.round_id, row.name].append(row)

    def norms(
        self,
        updates: Sequence[Update],
        num_clients: int,
        *,
        otherwise: float,
        has_trend: bool = False,
    ) -> Measured:
        own = sorted(self._said("norm2"), key=lambda row: row.client_id or 0)
        if [row.client_id for row in own] != list(range(num_clients)):
            raise Broken(f"{len(own)} rows of norm2 for {num_clients} clients")
        values = np.array([row.value for row in own])
        errors = np.array([_error(row) for row in own])
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise Broken("norms must be finite and not negative")
        is_told = bool(np.isfinite(norm_exponent(updates).nu) and values.any())
        exponent = Exponent(NAN, NAN)
        if self._said("level"):  # of pilots; nothing else writes it
            exponent = self._exponent("norm_exponent", is_told=is_told)
        scale = otherwise if np.isnan(exponent.nu) else exponent.nu
        return Measured(exponent, scale, Norms(values, errors))

    def ratio(
        self, moments: Sequence[RoundMoments], data_weights: FloatArray
    ) -> Estimated:
        found = self._exponent("ratio", is_told=True)
        return Estimated(found.nu, found.error)

    def rank_exponent(self, updates: Sequence[Update]) -> Exponent:
        is_told = not np.isnan(rank_exponent(updates).error)
        return self._exponent("nu", is_told=is_told)

    def _exponent(self, name: str, *, is_told: bool) -> Exponent:
        """Return a stated number with its error, which must be there if it is told."""
        rows = self._said(name)
        if len(rows) != is_told:
            raise Broken(f"{len(rows)} rows of {name}, computed {int(is_told)}")
        return Exponent(rows[0].value, _error(rows[0])) if rows else Exponent(NAN, NAN)

    def _said(self, name: str) -> list[Estimate]:
        return self._rows.get((self._stage.last_round_id + 1, name), [])


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a recorded round showed."""

    seen: Sequence[Update]
    scores: Sequence[Score] = ()
    arrived: Sequence[Participation] = ()
    sum_norm2: float | None = None

    def updates(self, full_rank: int | None) -> Sequence[Update]:
        return self.seen

    @property
    def loss(self) -> float | None:
        return global_loss(self.scores)


def _error(row: Estimate) -> float:
    return NAN if row.standard_error is None else row.standard_error

"""Checks when versions were evaluated, and why the run ended.

The server's own schedule is played again over the recorded scores.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from fl.contract import Score
from netsim.core.streams import stream
from netsim.learner.evaluation_schedule import EvaluationSchedule
from netsim.server.evaluations import Evaluations, InForce
from netsim.server.phase import Phase
from netsim.trace.rows import Evaluation, Round
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace

LOCAL = ("local-global", "local-personal")


def check_evaluations(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield evaluations that are not those of the schedule, and another end of the
    run than the one that ``stop`` asks for."""
    known.require_no_app()
    said = [row for row in trace.evals if row.client_id is None]
    schedule = _schedule(known)
    if schedule is None:
        said, expected = [*trace.evals], []
    replay = _Replay(trace, known, schedule or EvaluationSchedule(), said)
    reasons = list(replay.reasons())
    expected = replay.evals
    if len(expected) != len(said) or replay.is_short:
        rule = "there must be an evaluation whenever one is due"
        yield Finding("evals", "", rule, f"{len(said)}, computed {len(expected)}")
    for row, right in zip(said, expected, strict=False):
        names = ("round_id", "phase", "time_ns", "split", "num_samples")
        claims = [(name, getattr(row, name), getattr(right, name)) for name in names]
        yield from check_equal("evals", f"round {row.round_id}", *claims)
    yield from _check_end(trace, reasons)


def check_scores(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield metrics that cannot be, and splits of other names or sizes."""
    known.require_no_app()
    splits = _splits(known)
    whole = [row for row in trace.evals if row.client_id is None]
    for row in trace.evals:
        yield from _check_score(row, f"round {row.round_id}")
    for place, row in enumerate(whole):
        first, where = whole[place % len(splits)], f"round {row.round_id}"
        names = ("split", "num_samples")
        claims = [(name, getattr(row, name), getattr(first, name)) for name in names]
        yield from check_equal("evals", where, *claims)
        own = row.split.partition("[")[0]
        yield from check_equal(
            "evals", where, ("split", own, splits[place % len(splits)])
        )
        for name in ("perplexity", "exact_match"):
            has = getattr(row, name) is None, getattr(first, name) is None
            yield from check_equal("evals", where, (name, *has))


def _check_score(row: Evaluation, where: str) -> Iterator[Finding]:
    """Yield metrics that cannot be."""
    if row.perplexity is not None:
        claim = ("perplexity", row.perplexity, math.exp(min(row.loss, 700.0)))
        yield from check_equal("evals", where, claim)
    shares = (row.accuracy, row.exact_match)
    if row.loss < 0 or not all(one is None or 0 <= one <= 1 for one in shares):
        rule = "a loss is not negative, a share of right answers in 0 to 1"
        yield Finding("evals", where, rule, f"{row.loss}, {shares}")
    if row.client_id is not None:
        yield from check_equal("evals", where, ("exact_match", shares[1], None))


def _splits(known: Known) -> Sequence[str]:
    """Return the splits that each evaluation measures."""
    learning = known.scenario.learning.federated
    return ("test",) if learning is None else learning.evaluation.splits


def check_local_scores(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield local scores of clients that were not drawn for them."""
    known.require_no_app()
    own = [row for row in trace.evals if row.client_id is not None]
    said = sorted(
        (row.round_id, row.client_id or 0, row.split, row.time_ns, row.phase)
        for row in own
    )
    sizes = {row.client_id: row.num_samples for row in own}
    for row in own:
        where = f"round {row.round_id}, client {row.client_id}"
        claim = ("num_samples", row.num_samples, sizes[row.client_id])
        yield from check_equal("evals", where, claim)
    expected = sorted(_examined(trace, known))
    if said != expected:
        rule = "local scores must be of the clients drawn for them, at their merge"
        wrong = set(said) ^ set(expected)
        yield Finding("evals", "", rule, f"{len(wrong)} differ: {sorted(wrong)[:2]}")


def check_updates(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield that ``updates`` are told where nothing asks for them, or are not where
    something does."""
    known.require_no_app()
    learning, sampling = (
        known.scenario.learning.federated,
        known.scenario.server.sampling,
    )
    is_asked = learning is not None and (
        learning.evaluation.updates
        or learning.local_training.demands.spent is not None
        or (sampling is not None and "reads-losses" in sampling.traits)
    )
    merges = any(task.merged_round_id is not None for task in trace.tasks)
    if is_asked < bool(trace.updates) or (is_asked and merges and not trace.updates):
        rule = "updates must be told where the scenario asks for them, and only there"
        yield Finding("updates", "", rule, f"{len(trace.updates)} rows")


def _examined(trace: Trace, known: Known) -> Iterator[tuple[int, int, str, int, str]]:
    """Yield round, client, split, tick and phase of each local score to expect."""
    schedule = _schedule(known)
    if schedule is None or trace.has_edges:
        return
    merged: dict[int | None, list[int]] = defaultdict(list)
    for task in trace.tasks:
        merged[task.merged_round_id].append(task.client_id)
    for row in trace.rounds:
        if examined := schedule.examines(row.round_id):
            rng = stream(known.scenario.seed, "examined clients", row.round_id)
            for client_id in examined.chosen(merged[row.round_id], rng):
                for split in LOCAL:
                    yield row.round_id, client_id, split, row.end_ns, row.phase


def _schedule(known: Known) -> EvaluationSchedule | None:
    """Return when versions are evaluated; None where nothing is learned."""
    learning = known.scenario.learning.federated
    return None if learning is None else learning.evaluation


class _Replay:
    """The server's schedule, played over recorded rounds and scores."""

    def __init__(
        self,
        trace: Trace,
        known: Known,
        schedule: EvaluationSchedule,
        scores: Sequence[Evaluation],
    ) -> None:
        self.evals: list[Evaluation] = []
        self.is_short = False
        self._scores = deque(scores)
        self._trace = trace
        self._policy = known.policy
        self._pilots = known.policy_rules.pilots
        scene: Any = SimpleNamespace(
            seed=known.scenario.seed,
            recorder=self,
            learner=SimpleNamespace(schedule=schedule, evaluate=self._evaluate),
        )
        self._num_splits = len(_splits(known))
        self._learns = known.scenario.learning.federated is not None
        self._run = Evaluations(scene, known.scenario.stop)

    def reasons(self) -> Iterator[tuple[Round, str]]:
        """Yield every round of the server with the reason to end after it, if any."""
        trace, run = self._trace, self._run
        server_id = trace.cloud_id if trace.has_edges else 0
        rounds = [row for row in trace.rounds if row.server_id == server_id]
        phase, last_id, pilot_ns, last_ns = self._phase(rounds[:1], 0), 0, 0, 0
        run.evaluate(InForce("", phase, 0, 0, 0))
        ends = {e.round_id for e in trace.events if e.detail == "nobody left"}
        for row in rounds:
            now_phase = self._phase([row], last_id)
            if now_phase != phase:
                run.end_phase(InForce("", phase, last_id, last_ns, last_ns))
                if phase.is_pilot and not now_phase.is_pilot:
                    pilot_ns = last_ns
                    run.evaluate(InForce("", now_phase, last_id, last_ns, last_ns))
                phase = now_phase
            charged_ns = row.end_ns - self._free_ns(phase, row.end_ns, pilot_ns)
            before = InForce("", phase, last_id, row.end_ns, charged_ns)
            run.evaluate_marks(before)
            now = InForce("", phase, row.round_id, row.end_ns, charged_ns)
            is_deserted = row.round_id in ends
            _, reason = run.end_round(now, last_id, is_deserted=is_deserted)
            yield row, reason
            last_id, last_ns = row.round_id, row.end_ns

    def _phase(self, rounds: Sequence[Round], last_id: int) -> Phase:
        """Return the phase of a round: its pilot, or training after the last one."""
        trace = self._trace
        pilots_of = self._pilots
        if not rounds or rounds[0].phase != "pilot" or not pilots_of:
            pilots = [row.round_id for row in trace.rounds if row.phase == "pilot"]
            return Phase(after_round_id=max(pilots, default=0))
        starts = sorted(set(trace.columns("plans")["round_id"].tolist()))
        begun = [n for n in starts if n <= max(rounds[0].round_id, 1)]
        pilot = pilots_of[min(len(begun), len(pilots_of)) - 1]
        after = max(0, begun[-1] - 1)
        return Phase(kind="pilot", after_round_id=after, num_rounds=pilot.rounds)

    def _free_ns(self, phase: Phase, now_ns: int, pilot_ns: int) -> int:
        if self._policy is None or self._policy.charges_pilots:
            return 0
        return now_ns if phase.is_pilot else pilot_ns

    def _evaluate(self, version: str) -> Sequence[Score]:
        """Return the scores of the next recorded evaluation."""
        if not self._learns:
            return ()
        if len(self._scores) < self._num_splits:
            self.is_short = True
            return ()
        rows = [self._scores.popleft() for _ in range(self._num_splits)]
        return [Score(*row[4:], None) for row in rows]


def _check_end(trace: Trace, reasons: Sequence[tuple[Round, str]]) -> Iterator[Finding]:
    """Yield a run that goes on after its end, or ends without a reason."""
    for row, reason in reasons[:-1]:
        if reason:
            rule = "a run must end with the round in which `stop` is met"
            yield Finding("rounds", f"round {row.round_id}", rule, reason)
    stops = [event for event in trace.events if event.kind == "stop"]
    last = [(row.end_ns, "stop", row.round_id, None, why) for row, why in reasons[-1:]]
    if [tuple(event[1:]) for event in stops] != last:
        rule = "a run must end for a reason, with its last round"
        yield Finding("events", "stop", rule, f"{stops}, computed {last}")

"""When versions are evaluated, and whether the scores end the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fl.contract import Score
from netsim.client.participation import Participation
from netsim.client.scene import Scene
from netsim.core.streams import stream
from netsim.learner.evaluation_schedule import Marks
from netsim.learner.stop import Stop, is_of
from netsim.server.phase import Phase
from netsim.trace.rows import evaluation_row


@dataclass(frozen=True, slots=True)
class InForce:
    """The version in force at a time, its phase and the last round that ended."""

    version: str
    phase: Phase
    round_id: int
    time_ns: int
    charged_ns: int  # the time that counts for `stop.time`


class Evaluations:
    """Evaluates the version in force when it is due, and writes the scores."""

    def __init__(self, scene: Scene, stop: Stop) -> None:
        self.last: Sequence[Score] = ()
        self._scene = scene
        self._stop = stop
        self._schedule = scene.learner.schedule
        self._marks = Marks()
        self._is_near = False  # to the target: every round is evaluated
        self._last_at: tuple[int, int] = (0, 0)  # round and tick
        self._values: list[float] = []  # of the target's metric, without pilots'
        self._num_new = 0  # of them, since the last round's end

    def evaluate(self, now: InForce) -> Sequence[Score]:
        """Evaluate a version, write its scores and return them."""
        scores = self._scene.learner.evaluate(now.version)
        if any(is_of(score.split, "test") for score in scores):
            self.last = scores  # an app may score on other splits alone
        self.write(now, scores)
        target = self._stop.target
        if target is not None and not now.phase.is_pilot:
            self._is_near |= self._schedule.is_near(target, scores)
            self._values.append(target.value(scores))
        self._last_at = now.round_id, now.time_ns
        return scores

    def evaluate_marks(self, now: InForce) -> None:
        """Evaluate the version in force at the times of the schedule that have passed,
        before another version replaces it."""
        for time_ns in self._marks.passed(self._schedule, now.time_ns):
            if self._last_at != (now.round_id, time_ns):
                self.evaluate(replace(now, time_ns=time_ns))
                self._num_new += 1

    def end_phase(self, now: InForce) -> None:
        """Evaluate what is in force until now; its scores do not count from now on."""
        self.evaluate_marks(now)
        self._num_new = 0

    def write(self, now: InForce, scores: Sequence[Score]) -> None:
        """Write scores into the trace."""
        self._scene.recorder.evals.extend(
            evaluation_row(score, now.round_id, now.phase.kind, now.time_ns)
            for score in scores
        )

    def end_round(
        self, now: InForce, last_round_id: int, *, is_deserted: bool
    ) -> tuple[Sequence[Score], str]:
        """Return the scores of the round if they are due, and the reason for which the
        run ends with it, if any; the final version is always evaluated."""
        every = self._schedule.every
        is_due = now.phase.is_due(now.round_id, last_round_id, every)
        is_due = is_due or self._is_near
        scores = self._scored(now) if is_due else ()
        left = "nobody left" if is_deserted else ""
        reason = self._reason(now) or left
        if reason and not is_due:
            scores = self._scored(now)
            reason = self._reason(now) or left
        self._num_new = 0
        return scores, reason

    def _scored(self, now: InForce) -> Sequence[Score]:
        """Return the scores of the version at a round's end, which may end the run."""
        self._num_new += 1
        return self.evaluate(now)

    def examined(self, round_id: int, parts: Sequence[Participation]) -> list[str]:
        """Return the tickets whose own adapters are scored, one for each client."""
        examined = self._schedule.examines(round_id)
        if examined is None:
            return []
        rng = stream(self._scene.seed, "examined clients", round_id)
        last = {part.client_id: part.ticket for part in parts}
        chosen = examined.chosen(list(last), rng)
        return [ticket for client_id, ticket in last.items() if client_id in chosen]

    def _reason(self, now: InForce) -> str:
        """Return why the run ends; pilots neither meet a target nor count as rounds."""
        stop = self._stop
        if now.phase.is_pilot:
            stop = stop.model_copy(update={"rounds": None})
        number = now.round_id - now.phase.after_round_id
        return stop.reason(number, now.charged_ns, is_reached=self._is_reached(now))

    def _is_reached(self, now: InForce) -> bool:
        """Return whether an evaluation since the last round's end meets the target."""
        target, num_new = self._stop.target, self._num_new
        if target is None or now.phase.is_pilot or not num_new:
            return False
        last = self._values[-(num_new + target.over - 1) :]
        return any(target.met(last)[-num_new:])

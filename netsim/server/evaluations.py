"""When versions are scored, and what a score means for the end of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl.contract import Score
from netsim.client.participation import Participation
from netsim.core.streams import stream
from netsim.learner.evaluation_schedule import Marks
from netsim.trace.rows import evaluation_row

if TYPE_CHECKING:
    from netsim.server.stage import Stage


class Scoring:
    """The evaluations of the version in force on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.last: Sequence[Score] = ()
        self._stage = stage
        self._marks = Marks()
        self._is_near = False  # to the target: every round is scored
        self._last_at: tuple[int, int] = (0, 0)  # round and tick

    def score(self, round_id: int, time_ns: int | None = None) -> Sequence[Score]:
        """Score the version in force, now or at a mark that has passed."""
        stage = self._stage
        time_ns = stage.env.now if time_ns is None else time_ns
        self.last = stage.learner.evaluate(stage.version)
        self.write(round_id, time_ns, self.last)
        if not stage.leg.is_pilot:
            cadence, target = stage.learner.cadence, stage.stop.target
            self._is_near |= cadence.is_near(target, self.last)
        self._last_at = round_id, time_ns
        return self.last

    def score_marks(self) -> None:
        """Score the version in force at the clock's marks, before another one is."""
        stage = self._stage
        for time_ns in self._marks.passed(stage.learner.cadence, stage.env.now):
            if self._last_at != (stage.last_round_id, time_ns):
                self._marks.scores += self.score(stage.last_round_id, time_ns)

    def end_leg(self) -> None:
        """Score what is in force until now; what was scored counts for no next leg."""
        self.score_marks()
        self._marks.take()

    def write(self, round_id: int, time_ns: int, scores: Sequence[Score]) -> None:
        """Write scores into the trace."""
        phase = self._stage.leg.phase
        self._stage.recorder.evals.extend(
            evaluation_row(score, round_id, phase, time_ns) for score in scores
        )

    def verdict(
        self, round_id: int, *, is_deserted: bool
    ) -> tuple[Sequence[Score], str]:
        """Return the scores where they are due, and why the run ends here, if so."""
        stage = self._stage
        every = stage.learner.cadence.every
        is_due = self._is_near or stage.leg.is_due(round_id, stage.last_round_id, every)
        earlier = self._marks.take()
        scores = self.score(round_id) if is_due else ()
        left = "nobody left" if is_deserted else ""
        reason = self._reason(round_id, [*earlier, *scores]) or left
        if reason and not is_due:  # the final version is always scored
            scores = self.score(round_id)
            reason = self._reason(round_id, [*earlier, *scores]) or left
        return scores, reason

    def examined(self, round_id: int, parts: Sequence[Participation]) -> list[str]:
        """Return the tickets whose own adapters are scored, one for each client."""
        examined = self._stage.learner.cadence.examines(round_id)
        if examined is None:
            return []
        rng = stream(self._stage.seed, "examined clients", round_id)
        last = {part.client_id: part.ticket for part in parts}
        chosen = examined.chosen(list(last), rng)
        return [ticket for client_id, ticket in last.items() if client_id in chosen]

    def _reason(self, round_id: int, scores: Sequence[Score]) -> str:
        """Return why the run ends; pilots neither meet a target nor count as rounds."""
        stage = self._stage
        stop, now_ns = stage.stop, stage.env.now
        if stage.policy is not None and not stage.policy.charges_pilots:
            now_ns -= now_ns if stage.leg.is_pilot else stage.pilot_end_ns
        if stage.leg.is_pilot:
            stop = stop.model_copy(update={"rounds": None, "target": None})
        return stop.reason(round_id - stage.leg.after_round_id, now_ns, scores)

"""What the rounds of a run have shown of a plan's constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fl.contract import Score
from netsim.learner.stop import Target
from netsim.policy.forecast import Forecast, forecast, missing
from netsim.policy.noise_scale import RoundMoments, round_moments
from netsim.policy.pilots import Update
from netsim.policy.sampler import Coins, FloatArray
from netsim.policy.surrogate import FULL_ROUNDS, Surrogate
from netsim.server.outcome import Outcome


@dataclass(slots=True, kw_only=True)
class Observed:
    """Changes of clients, and moments of rounds that drew clients independently."""

    data_weights: FloatArray
    full_rank: int | None
    updates: list[Update] = field(default_factory=list)
    moments: list[RoundMoments] = field(default_factory=list)
    variances: list[float] = field(default_factory=list)  # of the rounds' plans
    way: list[tuple[int, float]] = field(default_factory=list)  # rounds; what lacked

    def note(self, outcome: Outcome, drawn_by: Coins, round_id: int) -> None:
        """Add a round; it has no moments if updates of earlier rounds were merged."""
        self.updates += outcome.updates(self.full_rank)
        parts = outcome.arrived
        is_known = outcome.sum_norm2 is not None and None not in outcome.norms2
        if not is_known or any(part.round_id != round_id for part in parts):
            return
        ids = [part.client_id for part in parts]
        step, probabilities = drawn_by.step, drawn_by.chances
        weights = np.array([part.weight for part in parts], dtype=float) / step
        assert outcome.sum_norm2 is not None
        self.moments.append(
            round_moments(
                weights,
                self.data_weights[ids],
                probabilities[ids],
                np.array(outcome.norms2, dtype=float),
                outcome.sum_norm2 / step**2,
            )
        )

    def note_progress(
        self, variance: float, scores: Sequence[Score], target: Target | None
    ) -> None:
        """Add the variance of a round's plan, and what its score lacks in the target's
        metric."""
        self.variances.append(variance)
        value = math.nan if target is None else target.value(scores)
        if target is not None and math.isfinite(value):
            self.way.append((len(self.variances), missing(target.metric, value)))

    def progress(self, law: Surrogate) -> FloatArray:
        """Return after each round how many rounds of full participation, of which
        ``FULL_ROUNDS`` would do, all rounds so far make by a law."""
        return np.cumsum([FULL_ROUNDS / law.rounds(one) for one in self.variances])

    def forecast(self, target: Target | None, law: Surrogate) -> Forecast | None:
        """Return the progress at which the target will be reached, if that follows."""
        if target is None or not self.way:
            return None
        rounds, lacks = zip(*self.way, strict=True)
        progress = self.progress(law)[np.array(rounds) - 1].tolist()
        return forecast(progress, lacks, missing(target.metric, target.level))

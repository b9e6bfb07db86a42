"""The sampler of each round, and whom it drew: the same streams are drawn again."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from netsim.core.streams import stream
from netsim.policy import Drawn, Sampler
from netsim.policy.sampler import Coins, FloatArray
from netsim.verify.known import Known, Unknown
from netsim.verify.trace import Trace


class Draws:
    """Whom the server drew for each round, from its sampling or the plan in force."""

    def __init__(self, trace: Trace, known: Known) -> None:
        self._trace = trace
        self._known = known

    def of(self, round_id: int) -> Drawn:
        """Return the drawn clients of a round, with their weights."""
        rng = stream(self._known.scenario.seed, "sampling", round_id)
        weights = self._known.population.data_weights
        return self._sampler(round_id).draw(weights, rng)

    def _sampler(self, round_id: int) -> Sampler:
        if self._known.policy is None:
            if self._known.server.sampling is None:
                raise Unknown("neither a policy nor `sampling` draws")
            return self._known.server.sampling
        if not self._known.policy_rules.tosses_coins:
            raise Unknown("its shares follow from measured norms")
        plan = max((n for n in self._plans if n <= round_id), default=0)
        return Coins(self._plans[plan], self._step(plan))

    def _step(self, plan: int) -> float:
        """Return the factor on weights under a plan: the pilot's, or the policy's."""
        rules = self._known.policy_rules
        place = sorted(self._plans).index(plan)
        if place < len(rules.pilots):
            return rules.pilots[place].step
        return rules.step

    @cached_property
    def _plans(self) -> dict[int, FloatArray]:
        """Return the probabilities of every plan, by its first round."""
        found = self._trace.columns("plans")
        ids = found["round_id"]
        return {int(n): found["sampling_probability"][ids == n] for n in np.unique(ids)}

"""What a policy is, and the sampling of a server without one."""

from __future__ import annotations

from typing import Protocol

from netsim.policy import Sampler
from netsim.policy.planner import Planner
from netsim.server.outcome import Samplers
from netsim.server.stage import Stage


class Policy(Protocol):
    """Decides within a run how often each client takes part, at which rank, or both."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    @property
    def decides_sampling(self) -> bool:
        """Return whether it takes the place of ``server.sampling``."""

    @property
    def decides_ranks(self) -> bool:
        """Return whether it takes the place of ``ranks``."""

    @property
    def needs_learning(self) -> bool:
        """Return whether it measures what only real learning has."""

    @property
    def charges_pilots(self) -> bool:
        """Return whether ``stop.time`` counts the time of pilots."""

    @property
    def max_weight(self) -> float | None:
        """Return the limit of ``a_n / q_n``, if any."""

    def require(self, planner: Planner) -> None:
        """Raise ``InputError`` where it cannot work on this fleet."""

    def samplers(self, stage: Stage, planner: Planner) -> Samplers:
        """Yield the sampler of each round, given the outcome of the round before."""


def as_given(stage: Stage, sampling: Sampler) -> Samplers:
    """Yield the same sampler for every round."""
    weights = stage.scene.population.data_weights
    stage.begin(sampling.probabilities(weights).tolist())
    while True:
        yield sampling

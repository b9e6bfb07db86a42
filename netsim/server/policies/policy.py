"""What a policy is, and the sampling of a server without one."""

from __future__ import annotations

from typing import Protocol

from netsim.policy import Sampler
from netsim.policy.planner import Planner
from netsim.policy.sampler import ANSWERS as OF_SAMPLERS
from netsim.scenario import Record
from netsim.scenario.plug_ins import Answer, Answers, is_number
from netsim.scenario.traits import Declaring
from netsim.server.outcome import Samplers
from netsim.server.stage import Stage


class Constants(Record):
    """What pilots would have measured: ``ratio`` is ``beta / alpha`` of the surrogate
    with every ``G_n`` one, and variance grows as ``(r / k)^nu``."""

    ratio: float | None = None
    nu: float | None = None


ANSWERS: Answers = {
    "charges_pilots": Answer("true or false", lambda answer: isinstance(answer, bool)),
    "max_weight": Answer(
        "a finite number above 0, or None",
        lambda answer: answer is None or is_number(answer, 1e-300),
    ),
    "samplers": Answer(
        "a sampler for each round",
        lambda answer, last: callable(answer.draw) and callable(answer.probabilities),
        "endless",
        then=OF_SAMPLERS,
    ),
}


class Policy(Declaring, Protocol):
    """Decides within a run how often each client takes part, at which rank, or both."""

    @property
    def charges_pilots(self) -> bool:
        """Return whether ``stop.time`` counts the time of pilots."""

    @property
    def max_weight(self) -> float | None:
        """Return the limit of ``a_n / q_n``, if any."""

    @property
    def constants(self) -> Constants | None:
        """Return what it plans with in place of pilots, if that is given."""

    def require_files(self, num_clients: int) -> None:
        """Raise ``InputError`` where a file that it names is wrong."""

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

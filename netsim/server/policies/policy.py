"""Who draws, round after round: as the scenario gives it, or as a policy finds out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from netsim.policy import Sampler
from netsim.policy.pilots import Update
from netsim.scenario import Record
from netsim.scenario.traits import Traits

if TYPE_CHECKING:
    from fl.contract import Score
    from netsim.client.participation import Participation
    from netsim.policy.planner import Planner
    from netsim.server.stage import Stage


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round showed: who arrived, by which squared change, and the scores."""

    arrived: Sequence[Participation]
    norms2: Sequence[float | None]
    scores: Sequence[Score]

    def updates(self, full_rank: int | None) -> list[Update]:
        """Return the changes whose norms are known."""
        return [
            Update(part.client_id, (full_rank or 1) / (part.rank or 1), norm2)
            for part, norm2 in zip(self.arrived, self.norms2, strict=True)
            if norm2 is not None
        ]

    @property
    def loss(self) -> float | None:
        """Return the global loss, where it was due."""
        return global_loss(self.scores)


def global_loss(scores: Sequence[Score]) -> float | None:
    """Return the loss of the global adapter, if it was scored."""
    losses = [score.loss for score in scores if score.client_id is None]
    return losses[0] if losses else None


Course: TypeAlias = Generator[Sampler, Outcome, None]  # a sampler per round


class Constants(Record):
    """What pilots would have told: ``ratio`` is ``beta / alpha`` of the surrogate with
    every ``G_n`` one, ``nu`` how variance grows as ``(r / k)^nu``."""

    ratio: float | None = None
    nu: float | None = None


class Policy(Protocol):
    """Decides within a run who takes part how often, at which rank, or both."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    @property
    def traits(self) -> Traits:
        """Return what it declares: what it decides, and what it needs for that."""

    @property
    def charges_pilots(self) -> bool:
        """Return whether ``stop.time`` counts the time of pilots."""

    @property
    def max_weight(self) -> float | None:
        """Return the most that ``a_n / q_n`` may be, where it is limited."""

    @property
    def constants(self) -> Constants | None:
        """Return what it plans with in place of pilots, where that is given."""

    def require_files(self, num_clients: int) -> None:
        """Raise ``InputError`` where a file that it names is wrong."""

    def require(self, planner: Planner) -> None:
        """Raise ``InputError`` where it cannot work on this fleet."""

    def course(self, stage: Stage, sampling: Sampler | None) -> Course:
        """Yield who draws each round, given what the round before it showed."""


def as_given(stage: Stage, sampling: Sampler) -> Course:
    """Yield the same sampler for every round."""
    weights = stage.population.data_weights
    stage.begin(sampling.probabilities(weights).tolist())
    while True:
        yield sampling

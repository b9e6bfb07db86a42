"""What a round showed, for the sampler of the next round."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fl.contract import Score
from netsim.client.participation import Participation
from netsim.policy import Sampler
from netsim.policy.pilots import Update


@dataclass(frozen=True, slots=True)
class Outcome:
    """The participations that arrived, their squared changes, the scores, the squared
    norm of the weighted sum of changes where it is known, and the mean loss over each
    one's mini-batches, none where nothing is learned."""

    arrived: Sequence[Participation]
    norms2: Sequence[float | None]
    scores: Sequence[Score]
    sum_norm2: float | None = None
    losses: Sequence[float | None] = ()

    def updates(self, full_rank: int | None) -> list[Update]:
        """Return the changes whose norms are known."""
        whole = full_rank or 1
        return [
            Update(part.client_id, whole / (part.job.rank or 1), norm2, part.round_id)
            for part, norm2 in zip(self.arrived, self.norms2, strict=True)
            if norm2 is not None
        ]

    @property
    def loss(self) -> float | None:
        """Return the global loss if it was evaluated."""
        return global_loss(self.scores)


def global_loss(scores: Sequence[Score]) -> float | None:
    """Return the loss of the global adapter if it was evaluated."""
    losses = [score.loss for score in scores if score.client_id is None]
    return losses[0] if losses else None


Samplers: TypeAlias = Generator[Sampler, Outcome, None]  # one per round

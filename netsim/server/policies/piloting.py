"""Pilot rounds on the simulated clock: short real runs that measure the constants of
a plan."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from netsim.policy import Sampler
from netsim.policy.baselines import weight_floors
from netsim.policy.pilots import Curve, Trial, Update
from netsim.policy.planner import Planner
from netsim.policy.sampler import Coins, FloatArray
from netsim.scenario import Record
from netsim.server.outcome import Outcome, global_loss
from netsim.server.phase import Phase
from netsim.server.stage import Stage
from netsim.trace.rows import Estimate


class Pilot(Record):
    """Rounds in which all clients join with one probability, at one rank or the highest
    that the client's device allows; they end early once the loss is ``until_loss``.

    ``step`` multiplies the weights of the merge: it is the server's step size.
    """

    probability: float = Field(gt=0, le=1)
    rounds: int = Field(ge=1)
    client_rank: Annotated[int, Field(ge=1)] | None = Field(default=None, alias="rank")
    until_loss: float | None = None
    step: float = Field(default=1.0, gt=0)

    def __str__(self) -> str:
        rank = "" if self.client_rank is None else f", rank {self.client_rank}"
        return f"q {self.probability:g}{rank}"


class Piloted(NamedTuple):
    """A pilot's trial and the round in which it ended."""

    trial: Trial
    round_id: int


Piloting = Generator[Sampler, Outcome, list[Piloted]]


def run_pilots(
    stage: Stage,
    planner: Planner,
    pilots: Sequence[Pilot],
    *,
    max_weight: float | None,
    decides_ranks: bool = False,
) -> Piloting:
    """Run every pilot from the first version and return what each showed."""
    weights = stage.scene.population.data_weights
    floors = weight_floors(weights, max_weight)
    found: list[Piloted] = []
    start_loss: float | None = None
    for place, pilot in enumerate(pilots):
        chances = np.maximum(pilot.probability, floors)
        if decides_ranks:
            top, wanted = planner.top_ranks().tolist(), pilot.client_rank
            ranks = top if wanted is None else [min(k, wanted) for k in top]
            stage.participants.client_ranks = ranks
        _begin(stage, pilot, chances, is_first=not place)
        stage.scene.mark("pilot", detail=f"{place + 1} of {len(pilots)}: {pilot}")
        if start_loss is None:
            start_loss = global_loss(stage.evaluations.last)
        assert start_loss is not None, "learning scores its first version"
        curve, updates = yield from _drive(stage, pilot, Coins(chances, pilot.step))
        trial = Trial(
            probabilities=chances,
            rank_ratio=_ratios(stage, len(weights)),
            curve=Curve(rounds=(0, *curve), losses=(start_loss, *curve.values())),
            updates=tuple(updates),
            is_sketched=pilot.client_rank is not None,
        )
        found.append(Piloted(trial, stage.last_round_id))
    return found


def _begin(stage: Stage, pilot: Pilot, chances: FloatArray, *, is_first: bool) -> None:
    """Put the pilot's probabilities in force, from the first version."""
    after = stage.last_round_id
    phase = Phase(kind="pilot", after_round_id=after, num_rounds=pilot.rounds)
    stage.start_phase(phase, stage.scene.learner.initial_version)
    if is_first:
        stage.begin(chances.tolist())
    else:
        stage.write_plan(chances.tolist())


def _drive(
    stage: Stage, pilot: Pilot, sampler: Sampler
) -> Generator[Sampler, Outcome, tuple[dict[int, float], list[Update]]]:
    """Run one pilot's rounds and return its losses by round, and the changes."""
    losses: dict[int, float] = {}
    updates: list[Update] = []
    for number in range(1, pilot.rounds + 1):
        outcome = yield sampler
        updates += outcome.updates(stage.scene.learner.rank)
        if outcome.loss is None:
            continue
        losses[number] = outcome.loss
        if pilot.until_loss is not None and outcome.loss <= pilot.until_loss:
            break
    return losses, updates


def _ratios(stage: Stage, num_clients: int) -> FloatArray:
    full_rank = stage.scene.learner.rank or 1
    rank = stage.participants.rank
    ranks = [rank(client_id) or 1 for client_id in range(num_clients)]
    return np.asarray(full_rank / np.array(ranks, dtype=float))


class Notebook:
    """Writes estimates that hold from the next round on."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def write(
        self,
        name: str,
        value: float,
        error: float | None = None,
        *,
        client_id: int | None = None,
        round_id: int | None = None,
    ) -> None:
        """Write one estimate; an unknown error is None."""
        stage, scene = self._stage, self._stage.scene
        is_known = error is not None and np.isfinite(error)
        scene.recorder.estimates.append(
            Estimate(
                stage.last_round_id + 1 if round_id is None else round_id,
                scene.env.now,
                name,
                client_id,
                float(value),
                float(error) if error is not None and is_known else None,
            )
        )

    def write_clients(self, name: str, values: FloatArray, errors: FloatArray) -> None:
        """Write an estimate of every client."""
        for client_id, (value, error) in enumerate(zip(values, errors, strict=True)):
            self.write(name, value, error, client_id=client_id)

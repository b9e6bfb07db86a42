"""Who takes part in a round, and with which weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fl.record import told
from netsim.errors import InputError
from netsim.policy.context import NAMES, Context
from netsim.scenario.by_name import unknown_argument
from netsim.scenario.plug_ins import Answer, Answers, are_numbers, is_whole
from netsim.scenario.traits import Traits

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The drawn clients in ascending order, with the weights that keep the sum over
    all clients unbiased: ``a_n`` over the probability of being drawn."""

    client_ids: tuple[int, ...]
    weights: tuple[float, ...]


class Sampler(Protocol):
    """Draws the participants of one round."""

    @property
    def traits(self) -> Traits:
        """Return what it declares about the weights of those drawn."""

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        """Return each client's probability of being drawn in a round."""

    @property
    def draw(self) -> Callable[..., Drawn]:
        """Return the method that returns a round's participants, who may be none; its
        arguments are names of ``Context``, such as ``data_weights`` and ``rng``."""


def _is_drawn(
    answer: Drawn,
    data_weights: FloatArray | None = None,
    rng: object = None,
    *,
    context: Context | None = None,
    **others: object,
) -> bool:
    ids = answer.client_ids
    if data_weights is None and context is not None:
        data_weights = context.data_weights
    num_clients = math.inf if data_weights is None else len(data_weights)
    return (
        all(is_whole(one) and one < num_clients for one in ids)
        and all(one < other for one, other in pairwise(ids))
        and are_numbers(answer.weights, len(ids))
    )


ANSWERS: Answers = {
    "probabilities": Answer(
        "a probability for every client",
        lambda answer, data_weights: are_numbers(answer, len(data_weights), 0, 1),
    ),
    "draw": Answer(
        "clients' ids in ascending order, each once, with a finite weight each",
        _is_drawn,
        names=NAMES,
    ),
}


def drawn_by(sampler: Sampler, context: Context) -> Drawn:
    """Return the clients that a sampler draws, told of the context what it asks for."""
    cls = type(sampler)
    if fault := unknown_argument(cls, "draw", NAMES):  # of a policy: read at no seam
        raise InputError(f"{cls.__module__}:{cls.__qualname__} {fault}")
    facts = {name: getattr(context, name) for name in NAMES[1:]}
    return sampler.draw(**told(cls.draw, {"context": context, **facts}))


@dataclass(slots=True)
class Once:
    """A result for the weights of one population, computed once: a round then costs one
    vector of draws and nothing else that grows with the fleet."""

    _weights: FloatArray = field(default_factory=lambda: np.empty(0))
    _found: FloatArray = field(default_factory=lambda: np.empty(0))

    def of(
        self, data_weights: FloatArray, find: Callable[[FloatArray], FloatArray]
    ) -> FloatArray:
        """Return ``find(data_weights)``, remembered while the array is the same one."""
        if data_weights is not self._weights:
            self._found = find(data_weights)
            self._weights = data_weights
        return self._found


@dataclass(frozen=True, slots=True)
class Coins:
    """Independent draws with given probabilities, each weight times ``step``."""

    chances: FloatArray
    step: float = 1.0
    traits: ClassVar[Traits] = {"sums-vary": ""}

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        return self.chances

    def draw(self, data_weights: FloatArray, rng: np.random.Generator) -> Drawn:
        drawn = toss(self.chances, data_weights, rng)
        return Drawn(drawn.client_ids, tuple(self.step * w for w in drawn.weights))


def weigh(
    client_ids: npt.NDArray[np.int64],
    data_weights: FloatArray,
    probabilities: FloatArray,
) -> Drawn:
    """Return drawn clients with weights ``a_n / q_n`` (METHOD.md 4)."""
    weights = data_weights[client_ids] / probabilities[client_ids]
    return Drawn(tuple(client_ids.tolist()), tuple(weights.tolist()))


def toss(
    probabilities: FloatArray, data_weights: FloatArray, rng: np.random.Generator
) -> Drawn:
    """Return whom independent coins draw; a lower ``q`` draws a subset of a higher."""
    drawn = np.flatnonzero(rng.random(len(probabilities)) < probabilities)
    return weigh(drawn, data_weights, probabilities)

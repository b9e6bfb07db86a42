"""What every kind of server has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import isgenerator
from typing import Protocol

from netsim.client.participation import Process
from netsim.policy import Sampler
from netsim.policy.sampler import ANSWERS as OF_SAMPLERS
from netsim.scenario.plug_ins import Answer, Answers, is_number, is_whole
from netsim.scenario.traits import Declaring
from netsim.server.stage import Stage


@dataclass(frozen=True, slots=True)
class RoundTiming:
    """The seconds of a round that are the server's own, and its deadline, counted from
    the round's start."""

    announce_s: float
    merge_s: float
    deadline_s: float | None = None


def _is_timing(answer: RoundTiming | None) -> bool:
    if answer is None:
        return True
    times_s = (answer.announce_s, answer.merge_s, answer.deadline_s or 0.0)
    return all(is_number(time_s, 0) for time_s in times_s)


ANSWERS: Answers = {
    "sampling": Answer(
        "a sampler, or None",
        lambda answer: answer is None or callable(answer.draw),
        then=OF_SAMPLERS,
    ),
    "counts": Answer(
        "whole numbers of at least 0, by key",
        lambda answer: all(map(is_whole, answer.values())),
    ),
    "round_timing": Answer("finite seconds of at least 0, or None", _is_timing),
    "play": Answer("a SimPy process", lambda answer, stage: isgenerator(answer)),
}


class ServerStory(Declaring, Protocol):
    """How a server works, as a process on a stage."""

    @property
    def sampling(self) -> Sampler | None:
        """Return the sampler; None where a policy or the server itself draws."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Return its settings that must not exceed the number of clients, by key."""

    @property
    def round_timing(self) -> RoundTiming | None:
        """Return a round's own times; None where clients do not start together."""

    def play(self, stage: Stage) -> Process:
        """Run until the stage's run is over."""

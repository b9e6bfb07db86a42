"""What every kind of server has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from netsim.client.participation import Process
from netsim.policy import Sampler
from netsim.scenario.traits import Declaring
from netsim.server.stage import Stage


@dataclass(frozen=True, slots=True)
class RoundTiming:
    """The seconds of a round that are the server's own, and its deadline, counted from
    the round's start."""

    announce_s: float
    merge_s: float
    deadline_s: float | None = None


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

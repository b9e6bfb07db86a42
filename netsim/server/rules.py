"""What a shipped server or policy declares of its rows: an audit computes them from
this, and so never asks for a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from netsim.server.outages import Outages
from netsim.server.policies.piloting import Pilot
from netsim.server.story import RoundTiming


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundRules:
    """How a server that works in rounds waits for clients, and weighs their updates."""

    timing: RoundTiming
    num_first: int | None = None  # arrivals that end a round
    keeps_late: bool = False  # late tasks go on, for a later merge
    staleness_exponent: float = 0.0  # of what is merged late
    corrects_arrivals: bool = False
    corrects_presence: bool = False
    rounds_per_draw: int = 1  # that are drawn before the first of them begins
    is_numbered_by_client: bool = True  # a round's tasks start in that order

    @property
    def has_late(self) -> bool:
        """Return whether a round may end before all its tasks."""
        return self.num_first is not None or self.timing.deadline_s is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class BufferRules:
    """How a server without rounds keeps clients active, and weighs their updates."""

    concurrency: int
    buffer_size: int
    merge_time_s: float
    weigh: Callable[[float, int], float]  # of data, over the mean client's; staleness
    is_mixed: bool = False  # updates replace a share of the newest version


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerRules:
    """What a server's rows must be: those of rounds, or of a buffer."""

    rounds: RoundRules | None = None
    buffer: BufferRules | None = None
    outages: Outages = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyRules:
    """What a policy's rows must be: pilots first, then plans."""

    pilots: tuple[Pilot, ...] = ()
    reads: tuple[str, ...] = ()  # files
    keeps_model: bool = False  # training goes on from where the last pilot ended


class RuledServer(Protocol):
    """A server that declares its rows."""

    @property
    def rules(self) -> ServerRules:
        """Return what its rows must be."""


class RuledPolicy(Protocol):
    """A policy that declares its rows."""

    @property
    def rules(self) -> PolicyRules:
        """Return what its rows must be."""

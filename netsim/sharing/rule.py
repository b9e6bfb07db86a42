"""What a sharing rule is asked, and what it is told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.channel.radio import Radio
from netsim.scenario import Record
from netsim.scenario.traits import Traits


@dataclass(frozen=True, slots=True)
class Expected:
    """A participant as the server sees it at the round's start."""

    client_id: int
    compute_s: float  # without the jitter that nobody knows yet
    bits: int
    cn0_hz: float  # effective, see ``Fading.effective_gain``
    ceiling_hz: float = math.inf


class SharingRule(Protocol):
    """Who gets how much of the band."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    @property
    def traits(self) -> Traits:
        """Return what it declares: whether shares are fixed when a round begins."""

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        """Return terms by client id that hold for one round, or nothing.

        Fixed shares waste what their holder does not use; weights hold for the round
        too, but share the band among those who are sending.
        """

    def divide(
        self,
        started: Sequence[Transfer],
        live: Mapping[int, Transfer],
        band: BandNow,
    ) -> Iterable[tuple[Transfer, Terms]]:
        """Return new terms where they change, after starts and ends of one tick."""


class AtEvents(Record):
    """Divides whenever a transfer starts or ends, and plans no round."""

    traits: ClassVar[Traits] = {"divides-at-events": ""}

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        return {}


class PerRound(Record):
    """Plans every round, and lets its plan stand until the next one."""

    traits: ClassVar[Traits] = {"plans-rounds": ""}

    def divide(
        self,
        started: Sequence[Transfer],
        live: Mapping[int, Transfer],
        band: BandNow,
    ) -> Iterable[tuple[Transfer, Terms]]:
        return ()


def pins(
    expected: Sequence[Expected], shares_hz: Sequence[float], free_uhz: int
) -> dict[int, Terms]:
    """Return fixed shares in whole micro-hertz that together never exceed the band."""
    total_hz = math.fsum(shares_hz)
    scale = min(1.0, free_uhz / 1e6 / total_hz) if total_hz else 0.0
    whole = [int(share * scale * 1e6) for share in shares_hz]
    excess = sum(whole) - free_uhz
    if excess > 0:  # the scaled floats may add up to an ulp too much
        whole[whole.index(max(whole))] -= excess
    return {
        one.client_id: Terms(weight=0, pinned_uhz=share)
        for one, share in zip(expected, whole, strict=True)
    }

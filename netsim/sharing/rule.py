"""The interface of sharing rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.channel.radio import Radio
from netsim.scenario import Record
from netsim.scenario.plug_ins import Answer, Answers, is_whole
from netsim.scenario.traits import Declaring, Traits

FACTS = (  # that ``reserve`` may ask for by the names of its arguments
    *("expected", "free_uhz", "radio"),
    *("round_id", "rng", "device", "seen"),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """A participant as the server expects it at the start of a round."""

    client_id: int
    compute_s: float  # without jitter
    bits: int
    cn0_hz: float  # effective, see ``Fading.effective_gain``
    ceiling_hz: float = math.inf


class SharingRule(Declaring, Protocol):
    """Divides a band among transfers."""

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        """Return the terms by client id for one round; empty for rules at events.

        A fixed share is idle while its client does not send; weights divide the band
        among the live transfers. One of your own may ask for more by the names of its
        arguments: ``FACTS``, which mean what they do in ``netsim.policy.context``.
        """

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        """Return the terms that change after the starts and ends of one tick."""


def _is_share(terms: Terms) -> bool:
    return is_whole(terms.weight) and (
        terms.pinned_uhz is None or is_whole(terms.pinned_uhz)
    )


ANSWERS: Answers = {
    "reserve": Answer(
        "terms by client id, with whole weights and shares of at least 0",
        lambda answer, expected=(), **others: (
            all(_is_share(terms) for terms in answer.values())
            and answer.keys() <= {one.client_id for one in expected}
        ),
        names=FACTS,
    ),
    "divide": Answer(
        "live transfers with their terms: whole weights and shares of at least 0",
        lambda answer, started, live, band: all(
            one.transfer_id in live and _is_share(terms) for one, terms in answer
        ),
        "list",
        unless="divides-equally",
    ),
}


class AtEvents(Record):
    """A rule that divides the band at every start and end of a transfer."""

    traits: ClassVar[Traits] = {"divides-at-events": ""}

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        return {}


class PerRound(Record):
    """A rule that fixes the terms at the start of every round."""

    traits: ClassVar[Traits] = {"plans-rounds": ""}

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        return ()


def pins(
    expected: Sequence[Expected], shares_hz: Sequence[float], free_uhz: int
) -> dict[int, Terms]:
    """Return fixed shares by client id, in whole uHz whose sum fits in ``free_uhz``."""
    total_hz = math.fsum(shares_hz)
    scale = min(1.0, free_uhz / 1e6 / total_hz) if total_hz else 0.0
    whole = [int(share * scale * 1e6) for share in shares_hz]
    excess = sum(whole) - free_uhz
    if excess > 0:  # the sum of the scaled floats can be an ulp too large
        whole[whole.index(max(whole))] -= excess
    return {
        one.client_id: Terms(weight=0, pinned_uhz=share)
        for one, share in zip(expected, whole, strict=True)
    }

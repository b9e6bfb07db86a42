"""Equal shares: fixed for a round, or divided again at every start and end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final, Literal

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.channel.radio import Radio
from netsim.scenario.traits import Traits
from netsim.sharing.rule import AtEvents, Expected, PerRound

EQUAL: Final = Terms(weight=1)


class ProcessorSharing(AtEvents):
    """All live transfers have equal shares at every moment."""

    kind: Literal["processor-sharing"] = "processor-sharing"
    traits: ClassVar[Traits] = {"divides-at-events": "", "divides-equally": ""}

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        return [(transfer, EQUAL) for transfer in started]


class EqualFixed(PerRound):
    """Each of a round's ``K`` participants has the fixed share ``band / K``."""

    kind: Literal["equal-fixed"] = "equal-fixed"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        share = Terms(weight=0, pinned_uhz=free_uhz // max(len(expected), 1))
        return {one.client_id: share for one in expected}

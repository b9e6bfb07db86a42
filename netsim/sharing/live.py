"""Fair shares of the live transfers, computed again at every event."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, Literal, TypeAlias

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.channel.radio import Radio
from netsim.scenario.traits import Traits
from netsim.sharing.equal_rate import max_min_shares_hz
from netsim.sharing.proportional_fair import fair_shares_hz
from netsim.sharing.rule import AtEvents, Expected, pins

WEIGHT_SUM: Final = 1_000_000  # at most; rounding loses < 1 uHz per unit of weight
NO_SHARE: Final = Terms(weight=0)

SharesHz: TypeAlias = Callable[[Sequence[Expected], float, Radio], Sequence[float]]


class LiveMaxMin(AtEvents):
    """At every moment the rates of the live transfers are max-min fair: equal, except
    those that a radio's ceiling keeps lower.

    A transfer in outage has no share. With the per-hertz radio a share is elastic, and
    its weight is an integer inverse to efficiency, so the rates of a hundred senders
    are equal to about one part in ten thousand. At fixed power an event costs time
    linear in the number of live transfers.
    """

    traits: ClassVar[Traits] = {"divides-at-events": "", "seeks-shares": ""}
    kind: Literal["max-min-live"] = "max-min-live"

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        reachable, terms = _split_by_outage(live, band.radio)
        if band.radio.depends_on_share:
            return [*terms, *_pinned(reachable, band, max_min_shares_hz)]
        return [*terms, *_inverse_to_efficiency(reachable, band.radio)]


class LiveProportionalFair(AtEvents):
    """At every moment the shares maximise the product of the live transfers' rates
    (Kelly, "Charging and rate control for elastic traffic", 1997).

    With the per-hertz radio that is processor sharing. At fixed power stronger
    channels, whose rates saturate later, have more, and an event costs time linear in
    the number of live transfers. A transfer in outage has no share.
    """

    traits: ClassVar[Traits] = {"divides-at-events": "", "seeks-shares": ""}
    kind: Literal["proportional-fair-live"] = "proportional-fair-live"

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        reachable, terms = _split_by_outage(live, band.radio)
        if band.radio.depends_on_share:
            return [*terms, *_pinned(reachable, band, fair_shares_hz)]
        return [*terms, *((transfer, Terms(weight=1)) for transfer in reachable)]


def _split_by_outage(
    live: Mapping[int, Transfer], radio: Radio
) -> tuple[list[Transfer], list[tuple[Transfer, Terms]]]:
    """Return the transfers that are not in outage, and no share for those that are."""
    ruled = [one for one in live.values() if one.is_ruled]
    reachable = [one for one in ruled if radio.efficiency_nbit(one.cn0_hz, 1)]
    if len(reachable) == len(ruled):
        return reachable, []
    ids = {one.transfer_id for one in reachable}
    return reachable, [(one, NO_SHARE) for one in ruled if one.transfer_id not in ids]


def _expected(transfer: Transfer) -> Expected:
    ceiling_uhz = transfer.ceiling_uhz
    ceiling_hz = math.inf if ceiling_uhz is None else ceiling_uhz / 1e6
    bits = transfer.message.bits
    return Expected(transfer.transfer_id, 0.0, bits, transfer.cn0_hz, ceiling_hz)


def _pinned(
    reachable: Sequence[Transfer], band: BandNow, shares_hz: SharesHz
) -> Iterator[tuple[Transfer, Terms]]:
    """Yield a fixed share for every transfer, as ``shares_hz`` divides the band."""
    free_uhz = band.ruled_uhz()
    expected = [_expected(one) for one in reachable]
    terms = pins(expected, shares_hz(expected, free_uhz / 1e6, band.radio), free_uhz)
    return ((one, terms[one.transfer_id]) for one in reachable)


def _inverse_to_efficiency(
    reachable: Sequence[Transfer], radio: Radio
) -> Iterator[tuple[Transfer, Terms]]:
    """Scale the weights by a power of two, so that an event seldom changes all."""
    parts = [1e9 / radio.efficiency_nbit(one.cn0_hz, 1) for one in reachable]
    if not parts:
        return
    room = (WEIGHT_SUM - len(parts)) / math.fsum(parts)
    scale = 2.0 ** math.floor(math.log2(max(room, 2.0**-60)))
    for transfer, part in zip(reachable, parts, strict=True):
        yield transfer, Terms(weight=1 + int(part * scale))

"""Fair shares of the live transfers, computed again at every event."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
EQUAL: Final = Terms(weight=1)

Change: TypeAlias = tuple[Transfer, Terms]
SharesHz: TypeAlias = Callable[[Sequence[Expected], float, Radio], Sequence[float]]


class LiveMaxMin(AtEvents):
    """At every moment the rates of the live transfers are max-min fair: equal, except
    those that a radio's ceiling keeps lower.

    A transfer in outage has no share. With the per-hertz radio a share is elastic, and
    its weight is an integer inverse to efficiency, so the rates of a hundred senders
    are equal to about one part in ten thousand. At fixed power an event costs time
    linear in the number of live transfers, otherwise seldom.
    """

    traits: ClassVar[Traits] = {"divides-at-events": "", "seeks-shares": ""}
    kind: Literal["max-min-live"] = "max-min-live"

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        if band.radio.depends_on_share:
            return _pinned(live, band, max_min_shares_hz)
        weights, touched = band.kept(_Weights), [*started, *band.faded]
        weights.forget(band.ended)
        weights.note(touched, band.radio)
        if weights.scale_again():
            touched = _ruled(live.values())
        return _in_order((one, weights.terms(one)) for one in touched)


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
        if band.radio.depends_on_share:
            return _pinned(live, band, fair_shares_hz)
        radio, touched = band.radio, [*started, *band.faded]
        return _in_order((one, _equal_terms(one, radio)) for one in touched)


@dataclass(slots=True)
class _Weights:
    """The weights of a band's live transfers, inverse to efficiency.

    They are scaled by a power of two, so that an event seldom changes all. Their sum is
    exact, so that it does not depend on the order of events.
    """

    parts: dict[int, float] = field(default_factory=dict)  # of those not in outage
    exact_sum: int = 0  # of the parts, in units of the least float
    scale: float = 0.0

    def forget(self, ended: Iterable[Transfer]) -> None:
        """Leave out transfers that have ended, or have another channel."""
        for one in ended:
            self.exact_sum -= _exact(self.parts.pop(one.transfer_id, 0.0))

    def note(self, touched: Sequence[Transfer], radio: Radio) -> None:
        """Take in transfers that start, or have another channel."""
        self.forget(touched)
        for one in touched:
            efficiency_nbit = radio.efficiency_nbit(one.cn0_hz, 1)
            if efficiency_nbit:
                part = self.parts[one.transfer_id] = 1e9 / efficiency_nbit
                self.exact_sum += _exact(part)

    def scale_again(self) -> bool:
        """Return whether the weights of all transfers change."""
        before = self.scale
        if self.parts:
            room = (WEIGHT_SUM - len(self.parts)) / (self.exact_sum / _exact(1.0))
            self.scale = 2.0 ** math.floor(math.log2(max(room, 2.0**-60)))
        return self.scale != before

    def terms(self, one: Transfer) -> Terms:
        """Return a transfer's terms; it has no share in outage."""
        part = self.parts.get(one.transfer_id)
        return NO_SHARE if part is None else Terms(weight=1 + int(part * self.scale))


def _exact(value: float) -> int:
    """Return a float as a multiple of the least positive one."""
    numerator, denominator = value.as_integer_ratio()
    return (numerator << 1074) // denominator


def _equal_terms(one: Transfer, radio: Radio) -> Terms:
    return EQUAL if radio.efficiency_nbit(one.cn0_hz, 1) else NO_SHARE


def _ruled(transfers: Iterable[Transfer]) -> list[Transfer]:
    return [one for one in transfers if one.is_ruled]


def _in_order(changes: Iterable[Change]) -> list[Change]:
    """Return changes in order of start, those of transfers in outage first."""
    return sorted(
        changes, key=lambda at: (at[1] != NO_SHARE, at[0].start_ns, at[0].order)
    )


def _expected(transfer: Transfer) -> Expected:
    ceiling_uhz = transfer.ceiling_uhz
    ceiling_hz = math.inf if ceiling_uhz is None else ceiling_uhz / 1e6
    bits = transfer.message.bits
    return Expected(transfer.transfer_id, 0.0, bits, transfer.cn0_hz, ceiling_hz)


def _pinned(
    live: Mapping[int, Transfer], band: BandNow, shares_hz: SharesHz
) -> Iterator[Change]:
    """Yield a fixed share for every transfer, as ``shares_hz`` divides the band; none
    for those in outage."""
    ruled, free_uhz = _ruled(live.values()), band.ruled_uhz()
    expected = [
        _expected(one) for one in ruled if band.radio.efficiency_nbit(one.cn0_hz, 1)
    ]
    terms = pins(expected, shares_hz(expected, free_uhz / 1e6, band.radio), free_uhz)
    yield from ((one, NO_SHARE) for one in ruled if one.transfer_id not in terms)
    for one in ruled:
        if one.transfer_id in terms:
            yield one, terms[one.transfer_id]

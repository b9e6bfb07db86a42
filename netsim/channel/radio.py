"""Radios: the rate of a carrier-to-noise density and a share of the band.

Two formulas. With constant power per hertz (as in AFL, arXiv 2505.23555) the rate is
linear in the share. With constant transmit power it is concave in the share and
saturates at ``cn0 / (gap ln 2)``. Both have the spectral efficiency
``log2(1 + SNR / gap)``, capped by the highest modulation.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field

from netsim.channel.capacity import CapacityTable
from netsim.channel.mcs_table import McsTableRadio
from netsim.channel.measured_radio import MeasuredRadio
from netsim.channel.per_hertz import PerHertzRates
from netsim.core.quantities import BitPerSecondPerHertz, Decibel, Hertz
from netsim.scenario.plug_ins import Answer, Answers, is_number, is_whole
from netsim.scenario.record import Record

_LN2 = math.log(2)

# 256-QAM at code rate 948/1024 (TS 38.214 Table 5.1.3.1-2): 7.4063 bit/s/Hz.
_MAX_EFFICIENCY_BIT_S_HZ = 7.4
_Ceiling = Annotated[BitPerSecondPerHertz, Field(gt=0)]


class Radio(Protocol):
    """Maps carrier-to-noise density (Hz, linear) and a share of the band to rate.

    ``efficiency_nbit`` is the efficiency in 1e-9 bit/s/Hz, an integer for the exact
    band; zero is an outage. ``share_hz_for_rate`` is the least share that reaches a
    rate, infinite if none does. If ``depends_on_share`` is false, all shares have the
    same efficiency. Only a measured radio has a ``capacity``; its efficiency over time
    multiplies ``efficiency_nbit``.
    """

    @property
    def depends_on_share(self) -> bool: ...

    @property
    def full_power_hz(self) -> float | None:
        """Return the share at which the transmitter sends at full power, a narrower one
        in proportion; ``None`` where every share has full power."""

    @property
    def gap_db(self) -> float: ...

    @property
    def max_efficiency_bit_s_hz(self) -> float: ...

    def snr(self, cn0_hz: float, share_hz: float) -> float: ...

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int: ...

    def rate_bps(self, cn0_hz: float, share_hz: float) -> float: ...

    def share_hz_for_rate(self, cn0_hz: float, rate_bps: float) -> float: ...

    def capacity(self) -> CapacityTable | None: ...

    def from_start(self, seed: int, direction: str) -> CapacityTable | None: ...


def _is_capacity(answer: CapacityTable | None, *_: object) -> bool:
    return answer is None or isinstance(answer, CapacityTable)


def _is_positive(answer: float, *_: object) -> bool:
    return is_number(answer, 0)


ANSWERS: Answers = {
    "efficiency_nbit": Answer(
        "a whole number of 1e-9 bit/s/Hz, at least 0",
        lambda answer, *_: is_whole(answer),
    ),
    "rate_bps": Answer("a finite rate of at least 0 bit/s", _is_positive),
    "share_hz_for_rate": Answer(
        "a share of at least 0 Hz, infinite where none reaches the rate",
        lambda answer, *_: answer == math.inf or _is_positive(answer),
    ),
    "snr": Answer("a finite SNR of at least 0", _is_positive),
    "gap_db": Answer("a finite gap in dB", is_number),
    "max_efficiency_bit_s_hz": Answer(
        "a finite efficiency of at least 0 bit/s/Hz", _is_positive
    ),
    "capacity": Answer("a table of capacity, or None", _is_capacity),
    "from_start": Answer("a table of capacity, or None", _is_capacity),
}


class PerHertzRadio(PerHertzRates, Record):
    """Constant power per hertz: the SNR is that of the reference band at any share."""

    kind: Literal["per-hertz"] = "per-hertz"
    reference_band_hz: Annotated[Hertz, Field(gt=0)]
    gap_db: Annotated[Decibel, Field(ge=0)] = 0.0
    max_efficiency_bit_s_hz: _Ceiling = _MAX_EFFICIENCY_BIT_S_HZ
    depends_on_share: ClassVar[bool] = False

    @property
    def full_power_hz(self) -> float:
        return self.reference_band_hz

    def snr(self, cn0_hz: float, share_hz: float) -> float:
        return cn0_hz / self.reference_band_hz

    def capacity(self) -> None:
        return None

    def from_start(self, seed: int, direction: str) -> None:
        return None

    def _efficiency_bit_s_hz(self, cn0_hz: float) -> float:
        snr: float = cn0_hz / self.reference_band_hz * 10.0 ** (-0.1 * self.gap_db)
        shannon_bit_s_hz = math.log1p(snr) / _LN2
        cap_bit_s_hz = self.max_efficiency_bit_s_hz  # min() is too slow here
        return shannon_bit_s_hz if shannon_bit_s_hz < cap_bit_s_hz else cap_bit_s_hz


class FixedPowerRadio(Record):
    """Constant transmit power: a narrower share has a higher SNR."""

    kind: Literal["fixed-power"] = "fixed-power"
    gap_db: Annotated[Decibel, Field(ge=0)] = 0.0
    max_efficiency_bit_s_hz: _Ceiling = _MAX_EFFICIENCY_BIT_S_HZ
    depends_on_share: ClassVar[bool] = True
    full_power_hz: ClassVar[None] = None

    def snr(self, cn0_hz: float, share_hz: float) -> float:
        return cn0_hz / share_hz

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int:
        return round(self._efficiency_bit_s_hz(cn0_hz, share_uhz / 1e6) * 1e9)

    def rate_bps(self, cn0_hz: float, share_hz: float) -> float:
        return share_hz * self._efficiency_bit_s_hz(cn0_hz, share_hz)

    def share_hz_for_rate(self, cn0_hz: float, rate_bps: float) -> float:
        """``f = c / x`` with ``ln(1 + x) / x = kappa``, where ``c = cn0 / gap`` and
        ``kappa = rate ln 2 / c``; at least the share that the cap needs (derived
        here)."""
        if not rate_bps:
            return 0.0
        c_hz: float = cn0_hz * 10.0 ** (-0.1 * self.gap_db)
        if rate_bps * _LN2 >= c_hz:
            return math.inf
        snr = _snr_at_load(rate_bps * _LN2 / c_hz)
        return max(c_hz / snr, rate_bps / self.max_efficiency_bit_s_hz)

    def capacity(self) -> None:
        return None

    def from_start(self, seed: int, direction: str) -> None:
        return None

    def _efficiency_bit_s_hz(self, cn0_hz: float, share_hz: float) -> float:
        cap_bit_s_hz = self.max_efficiency_bit_s_hz
        if not share_hz:  # the limit of narrow shares
            return cap_bit_s_hz if cn0_hz else 0.0
        snr: float = cn0_hz / share_hz * 10.0 ** (-0.1 * self.gap_db)
        shannon_bit_s_hz = math.log1p(snr) / _LN2
        return shannon_bit_s_hz if shannon_bit_s_hz < cap_bit_s_hz else cap_bit_s_hz


def _snr_at_load(kappa: float) -> float:
    """Return ``x > 0`` with ``ln(1 + x) / x = kappa`` for ``kappa`` in (0, 1).

    Newton from above, where it cannot overshoot: with ``u = kappa - 1 - ln kappa``,
    ``(1 + sqrt(2u) + u) / kappa - 1`` bounds the root (Chatzigeorgiou, "Bounds on the
    Lambert function", IEEE Commun. Lett. 17(8), 2013). Near ``kappa = 1`` everything is
    written in ``1 - kappa``, which is exact, so no digits cancel.
    """
    idle = 1 - kappa
    u = _excess_over_log1p(-idle)
    x = (idle + math.sqrt(2 * u) + u) / kappa
    while True:
        if kappa > 0.9:
            residual, slope = idle * x - _excess_over_log1p(x), idle - x / (1 + x)
        else:
            residual, slope = math.log1p(x) - kappa * x, 1 / (1 + x) - kappa
        step = residual / slope
        x -= step
        if not step > 1e-15 * x:
            return x


def _excess_over_log1p(x: float) -> float:
    """Return ``x - ln(1 + x)`` without cancellation near zero.

    With ``y = x / (2 + x)``, ``ln(1 + x) = 2 artanh y`` and ``x - 2 y = x y``.
    """
    if abs(x) > 0.25:
        return x - math.log1p(x)
    y = x / (2 + x)
    tail = 0.0
    for k in range(21, 1, -2):
        tail = tail * y * y + 1 / k
    return x * y - 2 * y**3 * tail


RADIOS = {
    "fixed-power": FixedPowerRadio,
    "mcs-table": McsTableRadio,
    "measured": MeasuredRadio,
    "per-hertz": PerHertzRadio,
}

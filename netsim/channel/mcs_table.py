"""Rates of a real modem: the best entry of a modulation and coding table.

The entry is the largest efficiency that is at most ``log2(1 + SNR / gap)``. The gap
follows from a target of bit errors, ``-ln(5 BER) / 1.5`` (Piro et al., "An LTE module
for the ns-3 network simulator", SIMUTools 2011), as in ns-3's adaptive modulation.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Literal, Protocol, runtime_checkable

from pydantic import Field

from netsim.channel.per_hertz import PerHertzRates
from netsim.core.quantities import Hertz
from netsim.scenario.record import Record

TableName = Literal[
    "cqi-64qam",
    "cqi-256qam",
    "lte-uplink",
    "lte-downlink",
    "wifi-256qam",
    "wifi-1024qam",
    "nb-iot-uplink",
]


def _of_1024(*code_rates: int) -> tuple[float, ...]:
    return tuple(one / 1024 for one in code_rates)


# Code rates by bits per symbol.
_QPSK: Final = _of_1024(78, 120, 193, 308, 449, 602)
_QAM_16: Final = _of_1024(378, 490, 616)
_QAM_64: Final = _of_1024(466, 567, 666, 772, 873, 948)
_NB_IOT_BITS: Final = (
    *(88, 144, 176, 208, 256, 328, 392),
    *(472, 536, 616, 680, 776, 1000),
)
_WIFI: Final = {
    1: (1 / 2,),
    2: (1 / 2, 3 / 4),
    4: (1 / 2, 3 / 4),
    6: (2 / 3, 3 / 4, 5 / 6),
    8: (3 / 4, 5 / 6),
}
_CQI_64QAM: Final = {2: _QPSK, 4: _QAM_16, 6: _QAM_64}
_TABLES: Final[Mapping[TableName, Mapping[int, tuple[float, ...]]]] = {
    # TS 36.213 Table 7.2.3-1, the same as TS 38.214 Table 5.2.2.1-2
    "cqi-64qam": _CQI_64QAM,
    "lte-uplink": _CQI_64QAM,
    "lte-downlink": _CQI_64QAM,
    # TS 38.214 Table 5.2.2.1-3
    "cqi-256qam": {
        2: _of_1024(78, 193, 449),
        4: _QAM_16,
        6: _QAM_64[:-1],
        8: _of_1024(711, 797, 885, 948),
    },
    # IEEE 802.11-2020, 21.5: VHT-MCS 0 to 9
    "wifi-256qam": _WIFI,
    # IEEE 802.11ax-2021, 27.5: HE-MCS 0 to 11
    "wifi-1024qam": {**_WIFI, 10: (3 / 4, 5 / 6)},
    # TS 36.213 Table 16.5.1.2-2: bits in four resource units of twelve tones, each
    # with 144 data symbols
    "nb-iot-uplink": {2: tuple(bits / (4 * 144 * 2) for bits in _NB_IOT_BITS)},
}
# The bits that an entry carries in 50 resource blocks and a millisecond: the transport
# block of its modulation and coding scheme (0, 2, ... 28), TS 36.213 Tables 8.6.1-1 and
# 7.1.7.1-1 with 7.1.7.2.1-1. Pilots and cyclic prefix take nothing from them.
_BLOCKS_OF_9_MHZ: Final[Mapping[TableName, tuple[int, ...]]] = {
    "lte-uplink": (
        *(1384, 2216, 3624, 5160, 6968, 8760, 9912),
        *(12960, 15264, 18336, 21384, 22920, 27376, 30576, 36696),
    ),
    "lte-downlink": (
        *(1384, 2216, 3624, 5160, 6968, 7992, 9912),
        *(12960, 15264, 16416, 19848, 22920, 27376, 30576, 36696),
    ),
}
Step = tuple[float, float]  # the least SNR, and the efficiency in bit/s/Hz from there


@runtime_checkable
class Stepped(Protocol):
    """A radio whose efficiency is a step function of an SNR that no share changes."""

    @property
    def reference_band_hz(self) -> float: ...

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the least SNR and the efficiency of each step, both rising."""


class McsTableRadio(PerHertzRates, Record):
    """A table of modulation and coding; constant power per hertz, as in ``per-hertz``.

    The rate is the largest entry of ``table`` that the SNR carries at
    ``bit_error_rate``, less ``overhead``: the part of time and band without data
    (cyclic prefix, pilots, control). The rates of ``lte-uplink`` and ``lte-downlink``
    are those of whole transport blocks, which leave out pilots and cyclic prefix. Below
    the lowest entry the rate is zero.
    """

    kind: Literal["mcs-table"] = "mcs-table"
    reference_band_hz: Annotated[Hertz, Field(gt=0)]
    table: TableName = "cqi-64qam"
    bit_error_rate: Annotated[float, Field(gt=0, le=0.04)] = 5e-5
    overhead: Annotated[float, Field(ge=0, lt=1)] = 0.0
    depends_on_share: ClassVar[bool] = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the least SNR and the efficiency of each entry, both rising."""
        steps = zip(
            *_steps(self.table, self.bit_error_rate, self.overhead), strict=True
        )
        return tuple(steps)

    @property
    def full_power_hz(self) -> float:
        return self.reference_band_hz

    @property
    def gap_db(self) -> float:
        return 10 * math.log10(_gap(self.bit_error_rate))

    @property
    def max_efficiency_bit_s_hz(self) -> float:
        return self.steps[-1][1]

    def snr(self, cn0_hz: float, share_hz: float) -> float:
        return cn0_hz / self.reference_band_hz

    def capacity(self) -> None:
        return None

    def from_start(self, seed: int, direction: str) -> None:
        return None

    def _efficiency_bit_s_hz(self, cn0_hz: float) -> float:
        settings = self.table, self.bit_error_rate, self.overhead
        least_snrs, efficiencies = _steps(*settings)
        place = bisect_right(least_snrs, cn0_hz / self.reference_band_hz)
        return efficiencies[place - 1] if place else 0.0


def _gap(bit_error_rate: float) -> float:
    return -math.log(5 * bit_error_rate) / 1.5


@lru_cache(maxsize=64)
def _steps(
    table: TableName, bit_error_rate: float, overhead: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the least SNRs of a table's entries, and their efficiencies."""
    entries = [
        num_bits * code_rate
        for num_bits, code_rates in _TABLES[table].items()
        for code_rate in code_rates
    ]
    gap = _gap(bit_error_rate)
    return (
        tuple(gap * math.expm1(entry * math.log(2)) for entry in entries),
        tuple(rate * (1 - overhead) for rate in _rates(table, entries)),
    )


def _rates(table: TableName, entries: Sequence[float]) -> Sequence[float]:
    """Return the bit/s/Hz that the entries of a table carry."""
    blocks = _BLOCKS_OF_9_MHZ.get(table)
    return entries if blocks is None else [bits / 9_000 for bits in blocks]

"""Numbers with units: text such as ``20 MHz`` to SI numbers and back."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from netsim.core.clock import MAX_NS, NS_PER_S
from netsim.errors import InputError

NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
_WRITTEN = re.compile(rf"\s*({NUMBER})\s*(.*?)\s*")
_MAX_CHARS = 100
MAX_S = 9.2e9  # the limit of int64 nanoseconds, 291 years
MAX_LEVEL_DB = 400.0  # a ratio of 10^40


AS_CALLED_ELSEWHERE = {
    "batch_size": "per_device_train_batch_size",
    "epochs": "local_steps",
    "fedavg": "fedit",
    "fedasync": "asynchronous",
    "fedbuff": "buffered",
    "local_epochs": "local_steps",
    "lr": "learning_rate",
    "num_rounds": "rounds",
    "num_train_epochs": "local_steps",
    "rank": "r",
}
EPOCH = (
    " (an epoch is a client's samples / (per_device_train_batch_size * "
    "gradient_accumulation_steps) local steps)"
)


def closest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that other tools call ``name``, else the most similar one, or
    None."""
    choices = list(choices)
    meant = _as_called_here(name)
    if meant in choices:
        return meant
    by_folded = {choice.casefold(): choice for choice in reversed(choices)}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a hint at the most similar choice; empty if there is none."""
    near = closest(name, choices)
    if near is None:
        return ""
    is_epochs = near == "local_steps" == _as_called_here(name)
    return f", did you mean {near!r}?" + (EPOCH if is_epochs else "")


def _as_called_here(name: str) -> str:
    """Return our word for a word of other tools; empty if it is none."""
    return AS_CALLED_ELSEWHERE.get(name.casefold().replace("-", "_"), "")


def is_yaml(context: object) -> bool:
    """Return whether pydantic validates the content of a YAML file."""
    return isinstance(context, Mapping) and context.get("source") == "yaml"


def _scaled(prefixes: str, unit: str, step: int = 1000) -> dict[str, Fraction]:
    """Return ``unit`` with each prefix; each is ``step`` times the previous one."""
    return {p.strip() + unit: Fraction(step) ** k for k, p in enumerate(prefixes)}


def _times(factor: int, units: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """Return the same units, each multiplied by ``factor``."""
    return {name: factor * value for name, value in units.items()}


@dataclass(frozen=True, eq=False)
class Quantity:
    """One dimension as pydantic metadata: ``Annotated[float, Quantity(...)]``.

    Text is parsed exactly. A bare number counts as SI, and YAML must not give one.
    """

    base: str
    example: str
    units: Mapping[str, Fraction]
    others: Mapping[str, Fraction] = field(default_factory=dict)  # output if shorter
    synonyms: Mapping[str, Fraction] = field(default_factory=dict)  # input only
    levels: Mapping[str, Callable[[Fraction], float]] = field(default_factory=dict)
    is_whole: bool = False
    most: float = math.inf  # of the magnitude; keeps what is computed of it finite

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Return every unit that ``parse`` accepts."""
        return (*self.units, *self.others, *self.synonyms, *self.levels)

    def parse(self, text: str) -> float | int:
        """Return the SI number of ``text``, such as 20e6 for ``20 MHz``."""
        match = _WRITTEN.fullmatch(text) if len(text) <= _MAX_CHARS else None
        if match is None:
            raise InputError(
                f"needs a number and a unit, such as {self.example!r}, "
                f"got {text[:40]!r}"
            )
        number, unit = match.groups()
        if not unit:
            raise InputError(
                f"needs a unit, such as {self.example!r}, got {text.strip()}"
            )
        return self._convert(Fraction(number), unit, text)

    def text(self, value: float | int) -> str:
        """Return the shortest text that parses back to exactly ``value``."""
        written = [
            (abs(float(number)) < 1 and value != 0, len(number), rank, -scale, label)
            for rank, units in enumerate((self.units, self.others))
            for unit, scale in units.items()
            if (number := self._number(value, unit, scale))
            and (rank == 0 or len(number) <= 3)
            for label in (f"{number} {unit}",)
        ]
        return min(written)[-1] if value else f"0 {self.base}"

    def _convert(self, number: Fraction, unit: str, text: str) -> float | int:
        value = self._in_base(number, unit, text)
        self._require_most(value, text)
        return value

    def _require_most(self, value: float, given: object) -> None:
        if abs(value) > self.most:
            rule = f"must be between -{self.most:g} and {self.most:g} {self.base}"
            raise InputError(f"{rule}, got {given!r}")

    def _in_base(self, number: Fraction, unit: str, text: str) -> float | int:
        known = {**self.units, **self.others, **self.synonyms}
        if unit in self.levels:
            return _finite(self.levels[unit], number, text)
        if unit not in known:
            raise InputError(self._unknown(unit, text))
        exact = number * known[unit]
        return (
            self._whole(exact, text) if self.is_whole else _finite(float, exact, text)
        )

    def _whole(self, exact: Fraction, text: str) -> int:
        if exact.denominator != 1:
            raise InputError(f"must be a whole number of {self.base}, got {text!r}")
        if abs(exact) > MAX_NS:  # int64, as the trace stores it
            raise InputError(f"must be below 2^63 {self.base}, got {text!r}")
        return int(exact)

    def _unknown(self, unit: str, text: str) -> str:
        hint = did_you_mean(unit, self.unit_names)
        return (
            f"unknown unit {unit!r} in {text.strip()!r}{hint} "
            f"(units: {', '.join(self.unit_names)})"
        )

    def _number(self, value: float | int, unit: str, scale: Fraction) -> str | None:
        """Return ``value`` as a number in ``unit``, or None if that is inexact."""
        if scale == 1:
            return _plain(value)
        if not 1e-100 < abs(value) < 1e100:
            return None
        power = _POWERS_OF_TEN.get((scale.numerator, scale.denominator))
        if power is None:
            number = _plain(float(Fraction(value) / scale))
        else:  # as exact, without fractions: lists of numbers are long
            number = _plain(value / 10**power if power > 0 else value * 10.0**-power)
        if power is None or "e" in number:
            exact = Fraction(number) * scale
            is_exact = (exact if self.is_whole else float(exact)) == value
        elif self.is_whole:
            is_exact = Decimal(number).scaleb(power) == value
        else:
            is_exact = float(f"{number}e{power}") == value
        return number if is_exact else None

    def _read(self, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str):
            return self.parse(value)
        if is_yaml(info.context):
            raise InputError(f"needs a unit, such as {self.example!r}")
        if isinstance(value, int | float):
            self._require_most(value, value)
        return value

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        number = handler(source)  # includes the bounds of the field
        if number["type"] == "float":
            number = {**number, "allow_inf_nan": False}
        return core_schema.with_info_before_validator_function(
            self._read,
            number,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.text, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        units = "|".join(re.escape(name) for name in self.unit_names)
        pattern = rf"^\s*{NUMBER}\s*({units})\s*$"
        return {
            "type": "string",
            "pattern": pattern,
            "examples": [self.example],
            "x-unit": self.base,
        }


def _finite(convert: Callable[[Fraction], float], exact: Fraction, text: str) -> float:
    """Return the float of an exact number; refuse overflow and underflow."""
    try:
        value = convert(exact)
    except OverflowError:
        value = math.inf
    if math.isinf(value) or (convert is float and exact and not value):
        raise InputError(f"is outside the range of a number, got {text!r}")
    return value


# 10**k as numerator and denominator; a float holds each of them exactly
_POWERS_OF_TEN = {(10**k, 1): k for k in range(1, 22)} | {
    (1, 10**k): -k for k in range(1, 22)
}


def _plain(value: float | int) -> str:
    """Return the shortest decimal text of a number: ``20``, ``1.5``, ``1e-12``."""
    text = repr(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        text = str(int(value))
    return text.replace("e+", "e")


def _watts(level_dbm: Fraction) -> float:
    """Return the power in watts of a level in dBm."""
    return float(10.0 ** (float(level_dbm - 30) / 10))


def _dbm(milliwatts: int) -> Callable[[Fraction], float]:
    """Return the conversion to dBm of a power in units of ``milliwatts``."""

    def convert(power: Fraction) -> float:
        if not power > 0:
            raise InputError(f"a power must be above 0 W to be a level, got {power}")
        return 10 * math.log10(power * milliwatts)

    return convert


_SECONDS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
}
_LONG_TIMES = {"min": Fraction(60), "h": Fraction(3600), "day": Fraction(86400)}
_LENGTHS = {
    "mm": Fraction(1, 1000),
    "cm": Fraction(1, 100),
    "m": Fraction(1),
    "km": Fraction(1000),
}
_BITS = _scaled(" kMGT", "bit")
_BYTES = _scaled(" kMGT", "B")
_BINARY = {k: v for k, v in _scaled(" KMGT", "iB", 1024).items() if v > 1}
_BIT_RATES = _scaled(" kMGT", "bit/s")
_BYTE_RATES = _times(8, _scaled(" kMGT", "B/s"))
_BPS = _scaled(" kMGT", "bps")
_POWERS = {"uW": Fraction(1, 10**6), "mW": Fraction(1, 1000), **_scaled(" kM", "W")}
_ENERGIES = {"uJ": Fraction(1, 10**6), "mJ": Fraction(1, 1000), **_scaled(" kM", "J")}

QUANTITIES: Mapping[str, Quantity] = {
    quantity.base: quantity
    for quantity in (
        Quantity("Hz", "20 MHz", _scaled(" kMGT", "Hz"), most=1e16),
        Quantity("m", "120 m", _LENGTHS, most=1e9),
        Quantity("s", "90 s", _SECONDS, _LONG_TIMES, most=MAX_S),
        Quantity(
            "bit",
            "1.5 MB",
            {"bit": Fraction(1), **_times(8, _BYTES)},
            {**{k: v for k, v in _BITS.items() if v > 1}, **_times(8, _BINARY)},
            is_whole=True,
        ),
        Quantity("B", "16 GB", _BYTES, _BINARY, is_whole=True),
        Quantity("bit/s", "50 Mbit/s", _BIT_RATES, _BYTE_RATES, _BPS, most=1e18),
        Quantity("W", "200 mW", _POWERS, levels={"dBm": _watts}, most=1e12),
        Quantity(
            "dBm",
            "23 dBm",
            {"dBm": Fraction(1)},
            levels={"W": _dbm(1000), "mW": _dbm(1)},
            most=MAX_LEVEL_DB,
        ),
        Quantity("dBm/Hz", "-174 dBm/Hz", {"dBm/Hz": Fraction(1)}, most=MAX_LEVEL_DB),
        Quantity("dB", "5 dB", {"dB": Fraction(1)}, most=MAX_LEVEL_DB),
        Quantity("dBi", "3 dBi", {"dBi": Fraction(1)}, most=MAX_LEVEL_DB),
        Quantity("FLOP", "2 TFLOP", _scaled(" kMGTPE", "FLOP"), is_whole=True),
        Quantity("FLOP/s", "2 TFLOP/s", _scaled(" kMGTPE", "FLOP/s"), most=1e24),
        Quantity("B/s", "12 GB/s", _scaled(" kMGT", "B/s"), most=1e18),
        Quantity("bit/s/Hz", "7.4 bit/s/Hz", {"bit/s/Hz": Fraction(1)}, most=1e6),
        Quantity(
            "m/s", "30 km/h", {"m/s": Fraction(1)}, {"km/h": Fraction(5, 18)}, most=3e8
        ),
        Quantity(
            "J",
            "5 kJ",
            _ENERGIES,
            {"Wh": Fraction(3600), "kWh": Fraction(3_600_000)},
            most=1e18,
        ),
    )
}

Hertz = Annotated[float, QUANTITIES["Hz"]]
Metres = Annotated[float, QUANTITIES["m"]]
Seconds = Annotated[float, QUANTITIES["s"]]
Bits = Annotated[int, QUANTITIES["bit"]]
Bytes = Annotated[int, QUANTITIES["B"]]
BitsPerSecond = Annotated[float, QUANTITIES["bit/s"]]
Watts = Annotated[float, QUANTITIES["W"]]
Dbm = Annotated[float, QUANTITIES["dBm"]]
DbmPerHertz = Annotated[float, QUANTITIES["dBm/Hz"]]
Decibel = Annotated[float, QUANTITIES["dB"]]
Dbi = Annotated[float, QUANTITIES["dBi"]]
Flop = Annotated[int, QUANTITIES["FLOP"]]
FlopPerSecond = Annotated[float, QUANTITIES["FLOP/s"]]
BytesPerSecond = Annotated[float, QUANTITIES["B/s"]]
BitPerSecondPerHertz = Annotated[float, QUANTITIES["bit/s/Hz"]]
MetresPerSecond = Annotated[float, QUANTITIES["m/s"]]
Joules = Annotated[float, QUANTITIES["J"]]


def format_quantity(value: float, base: str, *, num_digits: int = 4) -> str:
    """Return an SI number as rounded text: ``20 MHz`` for ``(2e7, "Hz")``."""
    units = QUANTITIES[base].units
    if not math.isfinite(value):
        return f"{value} {base}"
    if not value:
        return f"0 {base}"
    by_scale = sorted((scale, unit) for unit, scale in units.items())
    fitting = [pair for pair in by_scale if abs(value) >= pair[0]] or by_scale[:1]
    scale, unit = fitting[-1]
    number = float(f"{value / float(scale):.{num_digits}g}")
    return f"{_plain(number)} {unit}"


def format_duration_ns(duration_ns: int) -> str:
    """Return a duration as rounded text: ``12.0 ms``, ``3.42 s``, ``1 h 02 min``."""
    if duration_ns < 0:
        return "-" + format_duration_ns(-duration_ns)
    if duration_ns < 59_950_000_000:
        return _short_duration(duration_ns)
    seconds = (duration_ns + NS_PER_S // 2) // NS_PER_S
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    minutes = (seconds + 30) // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = (minutes + 30) // 60
    return f"{hours // 24} d {hours % 24:02d} h"


def _short_duration(duration_ns: int) -> str:
    for unit, size_ns in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        scaled = duration_ns / size_ns
        if scaled >= 0.9995:
            decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{decimals}f} {unit}"
    return f"{duration_ns} ns"

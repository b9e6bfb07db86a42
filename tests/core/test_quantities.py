"""Units: exact in both directions, and refused in words that show the form."""

import math
from decimal import Decimal
from typing import Annotated

import pytest
from annotated_types import Gt
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from netsim.core.quantities import (
    QUANTITIES,
    Bits,
    Dbm,
    Hertz,
    closest,
    format_duration_ns,
    format_quantity,
)
from netsim.errors import InputError

YAML = {"source": "yaml"}
FLOATS = [base for base, q in QUANTITIES.items() if not q.is_whole]
WHOLE = [base for base, q in QUANTITIES.items() if q.is_whole]


@pytest.mark.parametrize(
    ("base", "text", "value"),
    [
        ("Hz", "20 MHz", 20e6),
        ("Hz", "20MHz", 20e6),
        ("Hz", " 1e3 Hz ", 1000.0),
        ("Hz", ".5 GHz", 5e8),
        ("m", "120 m", 120.0),
        ("m", "3 cm", 0.03),
        ("s", "0.1 s", 0.1),
        ("s", "90 s", 90.0),
        ("s", "1.5 h", 5400.0),
        ("s", "3 ns", 3e-9),
        ("s", "1 day", 86400.0),
        ("bit", "1.2 MB", 9_600_000),
        ("bit", "1 KiB", 8192),
        ("bit", "33 kbit", 33_000),
        ("B", "1.5 GB", 1_500_000_000),
        ("B", "4 GiB", 2**32),
        ("bit/s", "50 Mbit/s", 50e6),
        ("bit/s", "50 Mbps", 50e6),
        ("bit/s", "1 MB/s", 8e6),
        ("W", "200 mW", 0.2),
        ("W", "30 dBm", 1.0),
        ("dBm", "23 dBm", 23.0),
        ("dBm", "1 W", 30.0),
        ("dBm", "1 mW", 0.0),
        ("dBm/Hz", "-174 dBm/Hz", -174.0),
        ("dB", "-5 dB", -5.0),
        ("dBi", "3 dBi", 3.0),
        ("FLOP", "2 TFLOP", 2 * 10**12),
        ("FLOP/s", "2 TFLOP/s", 2e12),
        ("bit/s/Hz", "7.4 bit/s/Hz", 7.4),
        ("m/s", "36 km/h", 10.0),
        ("J", "1 Wh", 3600.0),
    ],
)
def test_text_becomes_the_si_number(base, text, value):
    assert QUANTITIES[base].parse(text) == value


@pytest.mark.parametrize(
    ("base", "text", "message"),
    [
        ("Hz", "20", "needs a unit, such as '20 MHz', got 20"),
        ("Hz", "MHz", "needs a number and a unit, such as '20 MHz', got 'MHz'"),
        ("Hz", "", "needs a number and a unit"),
        ("Hz", "nan Hz", "needs a number and a unit"),
        ("Hz", "inf", "needs a number and a unit"),
        ("Hz", "1e999 Hz", "outside the range of a number"),
        ("Hz", "1e-999 Hz", "outside the range of a number"),
        ("Hz", "1e99999999999 Hz", "unknown unit"),
        ("Hz", "9" * 1000 + " Hz", "needs a number and a unit"),
        ("Hz", "20 mhz", "unknown unit 'mhz' in '20 mhz', did you mean 'MHz'? (units"),
        ("Hz", "20 potatoes", "(units: Hz, kHz, MHz, GHz, THz)"),
        ("m", "20 dBm", "unknown unit 'dBm'"),
        ("bit", "0.3 bit", "must be a whole number of bit, got '0.3 bit'"),
        ("bit", "1e19 bit", "must be below 2^63 bit"),
        ("dBm", "0 W", "a power must be above 0 W"),
        ("dB", "5 dBm", "did you mean 'dB'?"),
        ("W", "1e5 dBm", "outside the range of a number"),
        ("dB", "1e12 dB", "must be between -400 and 400 dB, got '1e12 dB'"),
        ("s", "1e300 s", "between -9.2e+09 and 9.2e+09 s, got '1e300 s'"),
        ("dBm", "-401 dBm", "must be between -400 and 400 dBm"),
        ("dBm", "1e300 W", "must be between -400 and 400 dBm"),
    ],
)
def test_a_refusal_says_the_rule_and_the_value(base, text, message):
    with pytest.raises(InputError) as caught:
        QUANTITIES[base].parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("base", "value", "text"),
    [
        ("Hz", 20e6, "20 MHz"),
        ("Hz", 180e3, "180 kHz"),
        ("Hz", 0.0, "0 Hz"),
        ("s", 90.0, "90 s"),
        ("s", 0.25, "250 ms"),
        ("s", 3600.0, "1 h"),
        ("s", 300_000.0, "300000 s"),
        ("bit", 96_000_000, "12 MB"),
        ("bit", 20_000_000, "20 Mbit"),
        ("bit", 4_194_304, "512 KiB"),
        ("bit", 7, "7 bit"),
        ("B", 1_500_000_000, "1.5 GB"),
        ("dBm", 23.0, "23 dBm"),
        ("dBm/Hz", -174.0, "-174 dBm/Hz"),
        ("W", 0.2, "200 mW"),
        ("m/s", 50 / 3.6, "50 km/h"),
        ("FLOP/s", 2e12, "2 TFLOP/s"),
        ("J", 360_000.0, "360 kJ"),
    ],
)
def test_the_text_is_short_and_parses_back(base, value, text):
    assert QUANTITIES[base].text(value) == text
    assert QUANTITIES[base].parse(text) == value


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FLOATS), st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_the_round_trip(base, value):
    value = max(-QUANTITIES[base].most, min(QUANTITIES[base].most, value))
    assert QUANTITIES[base].parse(QUANTITIES[base].text(value)) == value


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_whole_number_survives_the_round_trip(base, value):
    assert QUANTITIES[base].parse(QUANTITIES[base].text(value)) == value


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FLOATS), st.decimals(1, 9999, places=2), st.data())
def test_what_people_write_is_written_back_as_the_same_value(base, number, data):
    quantity = QUANTITIES[base]
    number = min(number, Decimal(quantity.most))
    value = quantity.parse(f"{number} {data.draw(st.sampled_from([*quantity.units]))}")
    assert quantity.parse(quantity.text(value)) == value


class Radio(BaseModel):
    model_config = ConfigDict(strict=True)
    band_hz: Annotated[Hertz, Gt(0)]
    upload_bits: Bits = 8000


def test_python_passes_si_numbers_and_yaml_may_not():
    assert Radio(band_hz=20e6).band_hz == 20e6
    assert Radio(band_hz="20 MHz").band_hz == 20e6
    for bare in (20e6, 20, True, None, "20"):
        with pytest.raises(ValidationError, match="needs a unit, such as '20 MHz'"):
            Radio.model_validate({"band_hz": bare}, context=YAML)


def test_a_level_from_python_has_the_same_bounds():
    level = TypeAdapter(Dbm)
    assert level.validate_python(-400.0) == -400.0
    with pytest.raises(ValidationError, match="between -400 and 400 dBm, got 401"):
        level.validate_python(401.0)


def test_json_writes_text_and_python_numbers():
    radio = Radio(band_hz=20e6)
    assert radio.model_dump() == {"band_hz": 20e6, "upload_bits": 8000}
    assert radio.model_dump(mode="json") == {"band_hz": "20 MHz", "upload_bits": "1 kB"}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "-1 Hz", 0.0, True])
def test_python_values_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        Radio(band_hz=bad)


def test_the_json_schema_has_a_pattern_and_an_example():
    schema = TypeAdapter(Hertz).json_schema()
    assert schema["type"] == "string"
    assert schema["examples"] == ["20 MHz"]
    assert "MHz" in schema["pattern"]


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES)
def test_every_example_parses(quantity):
    assert quantity.parse(quantity.example)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (12_000_000, "12.0 ms"),
        (3_420_000_000, "3.42 s"),
        (999_999_999, "1.00 s"),
        (59_999_000_000, "1 min 00 s"),
        (125 * 10**9, "2 min 05 s"),
        (3720 * 10**9, "1 h 02 min"),
        (27 * 3600 * 10**9, "1 d 03 h"),
        (-12_000_000, "-12.0 ms"),
    ],
)
def test_durations_for_people(duration_ns, text):
    assert format_duration_ns(duration_ns) == text


@pytest.mark.parametrize(
    ("value", "base", "text"),
    [
        (20e6, "Hz", "20 MHz"),
        (12_345_678, "bit", "1.543 MB"),
        (-0.5, "m", "-50 cm"),
        (-173.975, "dBm/Hz", "-174 dBm/Hz"),
        (0, "W", "0 W"),
        (math.inf, "s", "inf s"),
    ],
)
def test_quantities_for_people(value, base, text):
    assert format_quantity(value, base) == text


def test_the_closest_name_ignores_case():
    assert closest("Equal-Finsh", ["tdma", "equal-finish"]) == "equal-finish"
    assert closest("zzz", ["tdma", "equal-finish"]) is None

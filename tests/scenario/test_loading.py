"""Scenarios: every error at once, each with its line, column, path, rule and value."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

import pytest
from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, ValidationError, ValidationInfo, model_validator

from netsim.core.quantities import Bits, Bytes, Dbm, DbmPerHertz, Hertz, Metres, Seconds
from netsim.errors import InputError
from netsim.scenario import (
    OneOf,
    Record,
    dump,
    json_schema,
    load,
    load_text,
    scenario_digest,
)
from netsim.scenario.record import strip_unit


class Rule(Protocol):
    """Stands for any seam."""

    def order(self) -> int: ...


class EqualFinish(Record):
    kind: Literal["equal-finish"] = "equal-finish"

    def order(self) -> int:
        return 1


class Deadline(Record):
    kind: Literal["deadline"] = "deadline"
    deadline_s: Annotated[Seconds, Gt(0)]
    inner: Annotated[Rule, OneOf(RULES)] = EqualFinish()

    def order(self) -> int:
        return 2


RULES: dict[str, type[Record]] = {"deadline": Deadline, "equal-finish": EqualFinish}


class Outsider(Record):
    """A user's own class: reached by its path."""

    kind: ClassVar[str] = "outsider"
    weight: float = 1.0

    def order(self) -> int:
        return 2


class Incomplete(Record):
    """A user's class that cannot do what the seam asks."""


class Nameless(Record):
    """A user's class without a kind."""

    def order(self) -> int:
        return 2


class Heir(Deadline):
    """A user's class that has only a shipped class's kind."""


class Loose(BaseModel):
    """A user's class that is no record: it would take any settings."""


class Plain(BaseModel, extra="forbid", frozen=True):
    """Like the records of ``fl``, which know nothing of units."""

    num_steps: int = 1


class Cell(Record):
    band_hz: Annotated[Hertz, Gt(0)]
    power_dbm: Dbm = 23.0
    density_dbm_hz: DbmPerHertz = -174.0
    distance_m: Metres = 120.0
    memory_bytes: Bytes | None = None
    upload_bits: Bits = 4_194_304
    sharing: Annotated[Rule, OneOf(RULES)] = EqualFinish()


class Scenario(Record):
    seed: int = 0
    q: Annotated[float, Gt(0), Le(1)] = 1.0
    num_clients: Annotated[int, Ge(1)] = 10
    cell: Cell
    others: tuple[Cell, ...] = ()
    ranks: Annotated[tuple[int, ...], MinLen(1)] = (4, 8)
    rounds: int | Literal["auto"] = "auto"
    mode: Literal["sync", "async"] = "sync"
    label: str = ""
    trace: bool = True
    costs: Mapping[str, float] = {}
    training: Plain = Plain()

    @model_validator(mode="after")
    def _enough_clients(self) -> Scenario:
        if self.num_clients < len(self.others):
            raise ValueError("cell: more cells than clients")
        return self


GOOD = """\
seed: 3
q: 0.5
cell:
  band: 20 MHz          # a comment
  sharing: {kind: deadline, deadline: 3 s}
others:
  - band: 1e6 Hz
    sharing: equal-finish
  - {band: 5 GHz, power: 200 mW, memory: 4 GiB}
ranks: [1, 2]
costs: {a: 1, b: 1e-3}
"""


def message_of(text: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_text(text, Scenario, **options)
    return str(caught.value)


def test_a_scenario_becomes_a_record():
    scenario = load_text(GOOD, Scenario)
    assert scenario.cell.band_hz == 20e6
    assert scenario.cell.sharing == Deadline(deadline_s=3.0)
    assert scenario.others[0].sharing == EqualFinish()
    assert scenario.others[1].memory_bytes == 2**32
    assert scenario.costs == {"a": 1.0, "b": 0.001}


def test_a_dump_loads_back_equal_and_dumps_the_same():
    scenario = load_text(GOOD, Scenario)
    text = dump(scenario)
    assert "band: 20 MHz" in text
    assert "density: -174 dBm/Hz" in text
    assert load_text(text, Scenario) == scenario
    assert dump(load_text(text, Scenario)) == text


@pytest.mark.parametrize(
    "label", ["on", "1:30", "1e3", "null", "2026-11-21", "a: b", "0o17", "ä", "~", ""]
)
def test_awkward_text_survives_a_dump(label):
    scenario = Scenario(cell=Cell(band_hz=1.0), label=label)
    assert load_text(dump(scenario), Scenario) == scenario


def test_the_digest_ignores_key_order_and_spelling():
    one = load_text("seed: 1\ncell: {band: 20 MHz, power: 1 W}", Scenario)
    two = load_text("cell: {power: 30 dBm, band: 2e4 kHz}\nseed: 1", Scenario)
    assert scenario_digest(one) == scenario_digest(two)
    assert scenario_digest(one) != scenario_digest(Scenario(cell=Cell(band_hz=1.0)))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"),
        ("'5'", "5"),
        ("!!str 5", "5"),
    ],
)
def test_yaml_1_2_text_stays_text(written, value):
    text = f"cell: {{band: 1 Hz}}\nlabel: {written}"
    assert load_text(text, Scenario).label == value


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-3", 0.001), (".5", 0.5), ("1", 1.0), ("0x1", 1.0), ("0o1", 1.0)],
)
def test_yaml_1_2_numbers_are_numbers(written, value):
    assert load_text(f"cell: {{band: 1 Hz}}\nq: {written}", Scenario).q == value


# Each: the text, the line and column, the words.
MALFORMED = {
    "bare number": ("cell:\n  band: 20", "2:9", "cell.band: needs a unit, such as"),
    "unknown unit": ("cell:\n  band: 1 mhz", "2:9", "did you mean 'MHz'?"),
    "wrong dimension": ("cell: {band: 1 m}", "1:14", "units: Hz, kHz"),
    "nothing": ("cell:\n  band:", "2:8", "got nothing"),
    "a list": ("cell:\n  band: [1]", "2:3", "got a list of 1"),
    "unknown key": (
        "cell:\n  band: 1 Hz\n  sharng: deadline",
        "3:3",
        "cell: unknown key 'sharng', did you mean 'sharing'?",
    ),
    "attribute name": ("cell:\n  band_hz: 1 Hz", "2:3", "did you mean 'band'?"),
    "missing key": ("seed: 1\ncell:\n  power: 1 W", "2:1", "cell: missing key 'band'"),
    "missing at top": ("seed: 1", "1:1", "missing key 'cell'"),
    "q above 1": ("cell: {band: 1 Hz}\nq: 1.5", "2:4", "q: must be at most 1, got 1.5"),
    "q is nan": ("cell: {band: 1 Hz}\nq: .nan", "2:4", "must be a finite number"),
    "negative count": (
        "cell: {band: 1 Hz}\nnum_clients: -3",
        "2:14",
        "num_clients: must be at least 1, got -3",
    ),
    "negative band": ("cell: {band: -1 Hz}", "1:14", "greater than 0, got '-1 Hz'"),
    "text for a number": ("cell: {band: 1 Hz}\nseed: x", "2:7", "a whole number, got"),
    "float for an int": ("cell: {band: 1 Hz}\nseed: 1.5", "2:7", "whole number"),
    "on for a bool": (
        "cell: {band: 1 Hz}\ntrace: on",
        "2:8",
        "true or false, got 'on'",
    ),
    "number for text": ("cell: {band: 1 Hz}\nlabel: 5", "2:8", "must be text, got 5"),
    "text for a list": ("cell: {band: 1 Hz}\nranks: x", "2:8", "must be a list"),
    "empty list": ("cell: {band: 1 Hz}\nranks: []", "2:1", "at least 1 items"),
    "item of a list": ("cell: {band: 1 Hz}\nranks: [1, x]", "2:12", "ranks.1: must"),
    "text for a record": ("cell: x", "1:7", "must be a mapping"),
    "literal": ("cell: {band: 1 Hz}\nmode: asinc", "2:7", "did you mean 'async'?"),
    "union": ("cell: {band: 1 Hz}\nrounds: x", "2:9", "whole number, got 'x'; or must"),
    "plain record": (
        "cell: {band: 1 Hz}\ntraining:\n  num_step: 2",
        "3:3",
        "did you mean 'num_steps'?",
    ),
    "model rule": (
        "cell: {band: 1 Hz}\nothers: [{band: 1 Hz}, {band: 1 Hz}]\nnum_clients: 1",
        "1:1",
        "more cells than clients",
    ),
    "unknown kind": (
        "cell:\n  band: 1 Hz\n  sharing: {kind: deadlin}",
        "3:19",
        "cell.sharing.kind: unknown kind 'deadlin', did you mean 'deadline'?",
    ),
    "unknown bare kind": (
        "cell:\n  band: 1 Hz\n  sharing: tdma",
        "3:12",
        "(kinds: deadline, equal-finish or package.module:Class)",
    ),
    "no kind": ("cell: {band: 1 Hz, sharing: {x: 1}}", "1:20", "missing key 'kind'"),
    "number as kind": ("cell: {band: 1 Hz, sharing: 3}", "1:29", "must be a kind"),
    "kind needs more": (
        "cell: {band: 1 Hz, sharing: deadline}",
        "1:29",
        "cell.sharing: missing key 'deadline'",
    ),
    "key in a kind": (
        "cell:\n  band: 1 Hz\n  sharing:\n    kind: deadline\n    deadlin: 3 s",
        "5:5",
        "did you mean 'deadline'?",
    ),
    "inside a kind": (
        "cell: {band: 1 Hz, sharing: {kind: deadline, deadline: 0 s}}",
        "1:56",
        "cell.sharing.deadline: must be greater than 0, got '0 s'",
    ),
    "no module": (
        "cell: {band: 1 Hz, sharing: 'no_such_module:X'}",
        "1:29",
        "cannot import 'no_such_module'",
    ),
    "no class": (
        "cell: {band: 1 Hz, sharing: {kind: 'netsim.core.clock:Clock'}}",
        "1:36",
        "has no class 'Clock'",
    ),
    "not a record": (
        "cell: {band: 1 Hz, sharing: {kind: 'netsim.core.clock:to_ns'}}",
        "1:36",
        "is not a subclass of netsim.scenario.Record",
    ),
    "duplicate key": (
        "seed: 1\ncell: {band: 1 Hz}\nseed: 2",
        "3:1",
        "key 'seed' is given twice, first at 1:1",
    ),
    "tab": ("cell:\n\tband: 1 Hz", "2:1", "a tab cannot indent YAML"),
    "indentation": ("cell:\n    band: 1 Hz\n  power: 1 W", "3:3", "not valid YAML"),
    "open bracket": ("cell: {band: 1 Hz", "1:", "not valid YAML"),
    "two colons": ("cell: a: b", "1:8", "a ':' too many"),
    "two documents": ("seed: 1\n---\nseed: 2", "2:1", "a second document"),
    "list on top": ("- 1", "1:1", "the top level must be a mapping"),
    "text on top": ("hello", "1:1", "the top level must be a mapping"),
    "tag": ("seed: !!python/object:os.system 1", "1:7", "is not supported"),
    "merge key": ("a: &a {}\ncell: {<<: *a}", "2:8", "merge keys"),
    "no anchor": ("seed: *a", "1:7", "'*name' needs an '&name'"),
    "bool key": ("true: 1", "1:1", "a key must be text"),
    "list as key": ("[a]: 1", "1:1", "a key must be text"),
    "deep": ("a: " + "[" * 60 + "]" * 60, "1:53", "nested deeper than 50"),
    "very deep": ("a: " + "[" * 90_000, "1:53", "nested deeper than 50"),
    "alias in itself": ("a: &a [*a]", "1:4", "an alias in itself?"),
    "binary": ("seed: 1\nlabel: \x00\x01", "2:8", "is not text (character 0x00)"),
    "huge integer": ("seed: " + "9" * 5000, "1:7", "more than 400 digits"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_input_is_named_where_it_is(case):
    text, place, words = MALFORMED[case]
    message = message_of(text)
    assert message.startswith(f"scenario:{place}")
    assert words in message


def test_a_complaint_shows_the_line_with_a_caret():
    assert message_of("cell:\n  band: 20", name="s.yaml") == (
        "s.yaml:2:9: cell.band: needs a unit, such as '20 MHz', got 20\n"
        "      band: 20\n"
        "            ^"
    )


def test_all_errors_come_at_once_in_the_order_of_the_file():
    message = message_of("cell:\n  sharing: x\n  bnd: 1\nq: 2\nseed: a\n")
    heads = [line for line in message.splitlines() if line.startswith("scenario:")]
    assert [head.split(":")[1] for head in heads] == ["2", "3", "4", "5"]


def test_at_most_twenty_errors_are_shown():
    items = "\n".join(f"- x{i}" for i in range(30))
    message = message_of(f"cell: {{band: 1 Hz}}\nranks:\n{items}")
    assert message.count("scenario:") == 20
    assert message.endswith("and 10 more")


def test_a_yaml_bomb_is_refused_quickly():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 12):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    start = time.perf_counter()
    assert "more than 100000 values" in message_of("\n".join(lines))
    assert time.perf_counter() - start < 5


def test_an_alias_is_read_where_it_stands():
    text = "cell: &c {band: 1 Hz}\nothers: [*c, *c]"
    assert len(load_text(text, Scenario).others) == 2


# Files


def error_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path, Scenario)
    return str(caught.value)


def test_a_file_is_read_and_its_folder_reaches_validators(tmp_path):
    class Trace(Record):
        folder: str = ""

        @model_validator(mode="after")
        def _see(self, info: ValidationInfo) -> Trace:
            seen.append(info.context["folder"])
            return self

    seen: list[Path] = []
    (tmp_path / "s.yaml").write_text("\ufefffolder: x", encoding="utf-8")
    assert load(tmp_path / "s.yaml", Trace).folder == "x"
    assert seen == [tmp_path]


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "quickstart.yaml").write_text(GOOD)
    message = error_of(tmp_path / "quikstart.yaml")
    assert "no such file; did you mean" in message
    assert "quickstart.yaml'?" in message
    assert "nor a folder" in error_of(tmp_path / "no" / "s.yaml")
    assert "is a folder" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x" * 10_000_000, "larger than 1 MB (10000000 bytes): is this a scenario?"),
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"seed: 1\nlabel: \xff\xfe", ":2:8: is not UTF-8 text (byte 0xff)"),
        (b"\x7fELF\x02\x01\x01\x00\x00", ":1:1: is not text"),
        ("seed: 1".encode("utf-16"), ":1:1: is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_scenario_gets_one_clear_line(tmp_path, content, words):
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    message = error_of(path)
    assert words in message
    assert message.startswith(str(path))
    assert "\n" not in message


# Overrides


def test_overrides_reach_lists_and_make_mappings():
    scenario = load_text(
        GOOD,
        Scenario,
        overrides=[
            "others.0.band=7 kHz",
            "seed=9",
            "training.num_steps=4",
            "cell.sharing=equal-finish",
            "label=a=b",
        ],
    )
    assert scenario.others[0].band_hz == 7000.0
    assert scenario.seed == 9
    assert scenario.training.num_steps == 4
    assert scenario.cell.sharing == EqualFinish()
    assert scenario.label == "a=b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cell.band=20", "--set cell.band=20: cell.band: needs a unit"),
        ("cell.bnd=2 Hz", "--set cell.bnd=2 Hz: cell: unknown key 'bnd', did you mean"),
        ("others.2.band=1 Hz", "others is a list of 2; its items are numbered from 0"),
        ("seed.x=1", "--set seed.x=1: seed is 3, it has no key 'x'"),
        ("seed", "--set seed: must be of the form path.to.key=value"),
        ("=1", "must be of the form path.to.key=value"),
        ("seed=[1", "--set seed=[1: not valid YAML: "),
        ("cell.sharing.kind=x", "cell.sharing.kind: unknown kind 'x'"),
        ("cell.sharing={kind: deadline}", "cell.sharing: missing key 'deadline'"),
        ("training.x.y=1", "--set training.x.y=1: training: unknown key 'x'"),
    ],
)
def test_a_wrong_override_is_named_instead_of_a_line(override, message):
    text = message_of(GOOD, overrides=[override])
    assert text.startswith("--set ")
    assert message in text


def test_what_an_override_leaves_alone_keeps_its_line():
    text = "cell: {band: 1}\nseed: 1"
    message = message_of(text, overrides=["cell.power=x", "seed=2"])
    assert message.startswith("scenario:1:14: cell.band:")
    assert "--set cell.power=x: cell.power: needs a number and a unit" in message


def test_a_value_in_the_place_of_another_is_blamed_on_the_override():
    text = "cell: {band: 1 Hz, sharing: {kind: deadline, deadline: 1 s}}\nseed: 1"
    override = "cell.sharing={kind: deadline, deadline: x}"
    message = message_of(text, overrides=[override])
    assert f"--set {override}: cell.sharing.deadline: needs a number" in message


# Records and kinds


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("band_hz", "band"),
        ("density_dbm_hz", "density"),
        ("speed_m_s", "speed"),
        ("rate_flop_per_s", "rate"),
        ("efficiency_bit_s_hz", "efficiency"),
        ("num_devices", "num_devices"),
    ],
)
def test_keys_carry_no_unit(name, key):
    assert strip_unit(name) == key


def test_two_fields_of_one_key_are_refused():
    with pytest.raises(TypeError, match="share the YAML key"):
        type("Twice", (Record,), {"__annotations__": {"a_w": float, "a_dbm": float}})


def test_python_callers_use_either_name_and_instances():
    cell = Cell(band_hz=1.0, sharing=Deadline(deadline_s=2.0))
    assert cell == Cell.model_validate(
        {"band": 1.0, "sharing": {"kind": "deadline", "deadline_s": 2.0}}
    )
    with pytest.raises(ValidationError):
        Cell(band_hz=1.0, sharing=3)


def test_a_users_class_is_reached_by_its_path_and_written_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_own_rule.py").write_text(
        "from typing import ClassVar\n"
        "from netsim.scenario import Record\n"
        "class Mine(Record):\n    kind: ClassVar[str] = 'mine'\n"
        "    slack_s: float = 1.0\n"
        "    def order(self): return 3\n"
    )
    text = "cell: {band: 1 Hz, sharing: {kind: 'my_own_rule:Mine', slack: 2.0}}"
    path = list(sys.path)
    scenario = load_text(text, Scenario, folder=tmp_path)
    assert scenario.cell.sharing.slack_s == 2.0
    assert sys.path == path
    assert "kind: my_own_rule:Mine" in dump(scenario)
    assert load_text(dump(scenario), Scenario) == scenario
    bad = text.replace("slack:", "slak:")
    assert "did you mean 'slack'?" in message_of(bad, folder=tmp_path)


def test_a_plain_model_of_the_user_is_accepted():
    kind = f"{__name__}:Outsider"
    scenario = load_text(f"cell: {{band: 1 Hz, sharing: '{kind}'}}", Scenario)
    assert type(scenario.cell.sharing).__name__ == "Outsider"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Incomplete", "Incomplete' lacks order"),
        ("Nameless", 'lacks `kind`: .* such as `kind: ClassVar.str. = "nameless"`'),
        ("Heir", "has `kind` 'deadline', which is a shipped class's"),
        ("Loose", "is not a subclass of netsim.scenario.Record"),
    ],
)
def test_a_class_that_cannot_be_a_choice_is_refused_by_name(name, fault):
    with pytest.raises(InputError, match=fault):
        load_text(f"cell: {{band: 1 Hz, sharing: '{__name__}:{name}'}}", Scenario)


def test_the_json_schema_lists_kinds_and_units():
    schema = json_schema(Scenario)
    cell = schema["$defs"]["Cell"]["properties"]
    assert cell["power"]["default"] == "23 dBm"
    refs = [part.get("$ref") for part in cell["sharing"]["anyOf"]]
    assert refs[:2] == ["#/$defs/Deadline", "#/$defs/EqualFinish"]
    assert {"enum": ["deadline", "equal-finish"]} in cell["sharing"]["anyOf"]


# Costs


def test_fifty_lines_load_in_twenty_milliseconds():
    text = GOOD + "".join(
        f"# {i}\n" if i < 20 else f"#\n#{i}\n" for i in range(30)
    )  # the load is mostly the fields; comments only make up the lines
    load_text(text, Scenario)
    best = min(_seconds(text) for _ in range(5))
    assert best < 0.02


def _seconds(text: str) -> float:
    start = time.perf_counter()
    load_text(text, Scenario)
    return time.perf_counter() - start


def test_importing_scenarios_is_light():
    code = (
        "import sys, netsim.core.quantities, netsim.scenario;"
        "print(*{'numpy', 'torch', 'pandas', 'simpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

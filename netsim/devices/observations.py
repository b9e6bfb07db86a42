"""Published step times of real devices, and logs of a user's own."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from netsim.core.quantities import did_you_mean
from netsim.errors import InputError

SHIPPED = Path(__file__).with_name("observations.csv")
NEEDED = ("device", "step_seconds")
PASSES = {"full": 6, "lora": 4, "head only": 2}  # FLOP per parameter and token
BY_SIZE = ("parameters", "method", "tokens_per_step")


class Observation(NamedTuple):
    """One setting's mean step on one device; ``flop`` is None where the source does not
    say enough to count it."""

    device: str
    group: str
    software: str
    setting: str
    step_s: float
    flop: float | None
    source: str


def read_observations(path: Path = SHIPPED) -> list[Observation]:
    """Return the rows of a CSV file that have a step time; raise ``InputError`` on one
    that cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            names = table.fieldnames or ()
            for name in NEEDED:
                if name not in names:
                    hint = did_you_mean(name, names)
                    raise InputError(f"{path}:1: needs a column {name!r}{hint}")
            rows = [
                _observation(row, f"{path}:{table.line_num}")
                for row in table
                if row["step_seconds"]
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {error}") from error
    if not rows:
        raise InputError(f"{path}: has no row with step_seconds")
    return rows


def by_setting(observations: Iterable[Observation]) -> list[Observation]:
    """Return one observation per setting: the mean over equal devices and runs."""
    found: dict[tuple[str, float | None], list[Observation]] = defaultdict(list)
    for one in observations:
        found[one.setting, one.flop].append(one)
    return [
        same[0]._replace(step_s=math.fsum(one.step_s for one in same) / len(same))
        for same in found.values()
    ]


def _observation(row: Mapping[str, str | None], where: str) -> Observation:
    def text(name: str) -> str:
        return (row.get(name) or "").strip()

    parts = ("model", "method", "precision", "batch_size", "sequence_length")
    return Observation(
        device=text("device"),
        group=text("group"),
        software=text("software"),
        setting=", ".join(filter(None, map(text, parts))),
        step_s=_positive(text("step_seconds"), "step_seconds", where),
        flop=_flop({name: text(name) for name in ("flop_per_step", *BY_SIZE)}, where),
        source=text("source"),
    )


def _flop(given: Mapping[str, str], where: str) -> float | None:
    """Return the FLOP of a step: as given, else 6, 4 or 2 per parameter and token."""
    if given["flop_per_step"]:
        return _positive(given["flop_per_step"], "flop_per_step", where)
    if given["method"] not in PASSES:
        return None
    try:
        size, tokens = (float(given[n]) for n in ("parameters", "tokens_per_step"))
    except ValueError:
        return None
    return PASSES[given["method"]] * size * tokens


def _positive(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{where}: {name} must be a number above 0, got {text!r}")
    return value

"""The record of a tune file: settings, objective and constraints of a search."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from fl.contract import METRICS, SHARES
from netsim.core.quantities import NUMBER, QUANTITIES, did_you_mean
from netsim.errors import InputError
from netsim.learner.stop import Target
from netsim.scenario import Record
from netsim.study.record import NAME, Scalar, label_of, problem

NUM_DIGITS = 4  # of a value that is tried
_WRITTEN = re.compile(rf"\s*({NUMBER})\s*(\S+)\s*")
_LIMIT = re.compile(r"\s*(.+?)\s*(<=|>=)\s*(.+?)\s*")
MEASURES: Mapping[str, str] = {  # what may be limited, and its unit
    "time": "s",
    "energy": "J",
    "energy per client": "J",
    "bits": "bit",
    "upload bits": "bit",
    "download bits": "bit",
    "rounds": "",
    **dict.fromkeys(METRICS, ""),
}
TO_TARGET = " to target"

Objective = Literal[
    "least time to target",
    "least energy to target",
    "least energy per client to target",
    "least bits to target",
    "least upload bits to target",
    "least rounds to target",
    "least time",
    "least energy",
    "least energy per client",
    "least bits",
    "least upload bits",
    "least loss",
    "least perplexity",
    "most accuracy",
    "most exact_match",
]


class Setting(Record):
    """The values of one path: a range, whose ends are whole numbers, numbers or
    quantities of one unit, or a list of choices."""

    low: str | int | float | None = None
    high: str | int | float | None = None
    log: bool = False  # every factor is as likely as every other
    choices: tuple[Scalar | dict[str, object], ...] = ()

    @model_validator(mode="after")
    def _is_one_kind(self) -> Setting:
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("needs `low` and `high`, or `choices`, not both")
            if len(set(self.labels)) < len(self.choices):
                raise ValueError("lists a choice twice")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs `low` and `high`, or `choices`")
        (low, unit), (high, other) = split(self.low), split(self.high)
        if unit != other:
            raise ValueError(f"needs ends of one unit, got {unit!r} and {other!r}")
        if not low < high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and not low > 0:
            raise ValueError(f"a logarithmic range is above zero, got {self.low}")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what the choices are called."""
        return tuple(map(label_of, self.choices))

    @property
    def is_whole(self) -> bool:
        """Return whether all choices are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[float, float]:
        """Return the numbers of both ends, in the unit in which they are written."""
        assert self.low is not None
        assert self.high is not None
        return split(self.low)[0], split(self.high)[0]

    def written(self, value: float | str) -> str:
        """Return, as YAML of a scenario, a suggested number or a choice's label."""
        if isinstance(value, str):
            return json.dumps(self.choices[self.labels.index(value)])
        if self.is_whole:
            return str(int(value))
        low, high = self.ends
        rounded = value if value in self.ends else float(f"{value:.{NUM_DIGITS}g}")
        rounded = min(max(rounded, low), high)
        assert self.low is not None
        number = repr(int(rounded) if rounded.is_integer() else rounded)
        return f"{number} {split(self.low)[1]}".strip()

    def extremes(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """Yield the values that are tried before the search, each with its place."""
        for index, name in enumerate(self.labels):
            yield self.written(name), ("choices", index)
        if not self.choices:
            for place, end in zip(("low", "high"), self.ends, strict=True):
                yield self.written(end), (place,)


class Limit(NamedTuple):
    """A constraint: a measure that must stay at most, or at least, at a level."""

    measure: str
    is_upper: bool
    level: float
    text: str

    def violation(self, value: float) -> float:
        """Return how far beyond the level a value is, relative to it; at most zero
        where the limit is kept."""
        if math.isnan(value):
            return math.inf
        beyond = value - self.level if self.is_upper else self.level - value
        return beyond / (abs(self.level) or 1.0)


class TuneConfig(Record):
    """A search over a scenario's settings for the best that keeps all limits."""

    name: str = Field(pattern=NAME)
    scenario: str = Field(min_length=1)
    overrides: tuple[str, ...] = ()
    search: dict[Annotated[str, Field(min_length=1)], Setting] = Field(min_length=1)
    objective: Objective
    target: Target | None = None
    constraints: tuple[str, ...] = ()
    trials: int = Field(ge=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    sampler: Literal["tpe", "random"] = "tpe"
    startup: int = Field(default=8, ge=1)  # trials at random before tpe learns of them
    batch: int = Field(default=1, ge=1)  # trials that are tried side by side
    search_seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _names_what_there_is(self) -> TuneConfig:
        problems = list(self._problems())
        if problems:
            raise ValidationError.from_exception_data("tune", problems)
        return self

    def _problems(self) -> Iterator[InitErrorDetails]:
        if self.is_to_target != (self.target is not None):
            needs = "needs a `target`" if self.is_to_target else "has no use for it"
            where = "objective" if self.is_to_target else "target"
            yield problem(f"the objective {self.objective!r} {needs}", (where,))
        if len(set(self.seeds)) < len(self.seeds):
            yield problem("lists something twice", ("seeds",))
        for index, text in enumerate(self.overrides):
            if _path(text) == "seed":
                yield problem("seeds are listed in `seeds` alone", ("overrides", index))
        if "seed" in self.search:
            yield problem("seeds are listed in `seeds` alone", ("search", "seed"))
        for index, text in enumerate(self.constraints):
            try:
                read_limit(text)
            except InputError as error:
                yield problem(str(error), ("constraints", index))

    @property
    def is_to_target(self) -> bool:
        """Return whether measures are taken when the target is met."""
        return self.objective.endswith(TO_TARGET)

    @property
    def is_least(self) -> bool:
        """Return whether less is better."""
        return self.objective.startswith("least")

    @property
    def measure(self) -> str:
        """Return the measure of the objective."""
        return self.objective.partition(" ")[2].removesuffix(TO_TARGET)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Return the constraints."""
        return tuple(map(read_limit, self.constraints))


def read_limit(text: str) -> Limit:
    """Return the limit that ``energy per client <= 50 J`` states."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise InputError(
            f"must be of the form 'energy per client <= 50 J', got {text!r}"
        )
    measure, sign, level = match.groups()
    if measure not in MEASURES:
        hint = did_you_mean(measure, MEASURES)
        names = ", ".join(MEASURES)
        raise InputError(f"nothing is called {measure!r}{hint} (there are: {names})")
    unit = MEASURES[measure]
    value = QUANTITIES[unit].parse(level) if unit else _number(level)
    if measure in SHARES and not 0 <= value <= 1:
        raise InputError(f"{measure} lies in 0 to 1 (90 % is 0.9), got {level!r}")
    return Limit(measure, sign == "<=", float(value), text)


def split(end: str | int | float) -> tuple[float, str]:
    """Return number and unit of one end of a range; of a bare number no unit."""
    if not isinstance(end, str):
        return float(end), ""
    match = _WRITTEN.fullmatch(end)
    if match is None:
        raise ValueError(f"needs a number, maybe with a unit, got {end!r}")
    return float(match[1]), match[2]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"needs a number, got {text!r}") from None


def _path(override: str) -> str:
    return override.partition("=")[0].strip()

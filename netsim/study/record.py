"""The record of a study file: scenario, axes of variants, seeds, targets, baseline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from netsim.core.quantities import did_you_mean
from netsim.learner.stop import Target
from netsim.scenario import Record
from netsim.scenario.source import KeyPath

RESERVED = frozenset(
    ["variant", "seed", "status", "target", "baseline", "digest", "rounds"]
)
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
AXIS_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,39}$"
LABEL = r"^[^\x00-\x1f/]{1,80}$"


def as_label(value: object) -> object:
    """Return a scalar of YAML as its name in tables."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def label_of(value: object) -> str:
    """Return what a value is called: a scalar itself, a mapping by its kind and then
    what it says."""
    shown = as_label(value)
    if isinstance(shown, tuple | list):
        return " ".join(map(label_of, shown))
    if not isinstance(shown, Mapping):
        return str(shown)
    parts = [
        label_of(item) if key == "kind" else f"{key} {label_of(item)}"
        for key, item in shown.items()
    ]
    return ", ".join(parts)[:80]


Scalar = str | int | float | bool
Label = Annotated[str, BeforeValidator(as_label), Field(pattern=LABEL)]
Chosen = Annotated[str, BeforeValidator(as_label)]  # a value's may have a slash
Choice = dict[str, Chosen]  # a variant of some axes, by the axes' names


class Override(NamedTuple):
    """One ``path=value`` and its place in the study file."""

    text: str
    place: KeyPath


class Variant(Record):
    """One of the things that an axis compares; without overrides the scenario's own."""

    name: Label
    overrides: tuple[str, ...] = ()


class Axis(Record):
    """What is varied: named variants, or the values of one path."""

    name: str = Field(default="", pattern=f"^$|{AXIS_NAME}")
    variants: tuple[Variant, ...] = ()
    path: str | None = Field(default=None, min_length=1)
    values: tuple[Scalar | dict[str, object], ...] = ()

    @model_validator(mode="after")
    def _is_one_kind(self) -> Axis:
        has_variants = bool(self.name) and bool(self.variants)
        has_values = self.path is not None and bool(self.values)
        is_mixed = bool(self.variants) and (self.path is not None or bool(self.values))
        if is_mixed or not (has_variants or has_values):
            raise ValueError("needs `name` and `variants`, or `path` and `values`")
        folders = [folder_name(label) for label in self.labels]
        for label, folder in zip(self.labels, folders, strict=True):
            if folders.count(folder) > 1:
                raise ValueError(f"two variants would be called {label!r}")
        return self

    @property
    def title(self) -> str:
        """Return the axis's name; of a path its last key, if it has no other."""
        return self.name or str(self.path).rpartition(".")[2]

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of the variants."""
        if self.path is None:
            return tuple(variant.name for variant in self.variants)
        return tuple(map(label_of, self.values))

    def overrides(self, index: int) -> Iterator[Override]:
        """Yield the overrides of one variant, placed within the axis."""
        if self.path is not None:
            text = f"{self.path}={json.dumps(self.values[index])}"
            yield Override(text, ("values", index))
            return
        for number, text in enumerate(self.variants[index].overrides):
            yield Override(text, ("variants", index, "overrides", number))


class StudyConfig(Record):
    """A study: every combination of the axes' variants, with every seed."""

    name: str = Field(pattern=NAME)
    scenario: str = Field(min_length=1)
    overrides: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = Field(min_length=1)
    exclude: tuple[Choice, ...] = ()
    only: Choice = Field(default_factory=dict)  # with their baselines
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    targets: tuple[Target, ...] = ()
    baseline: Choice = Field(min_length=1)
    budget: int | None = Field(default=None, ge=1)  # the most runs there may be

    @model_validator(mode="after")
    def _names_what_there_is(self) -> StudyConfig:
        problems = list(self._problems())
        if problems:
            raise ValidationError.from_exception_data("study", problems)
        return self

    def _problems(self) -> Iterator[InitErrorDetails]:
        titles = [axis.title for axis in self.axes]
        for index, title in enumerate(titles):
            if title in titles[:index] or title in RESERVED or title.endswith("_ns"):
                text = f"the name {title!r} is taken; give the axis another `name`"
                yield problem(text, ("axes", index))
        for values, name in ((self.seeds, "seeds"), (self.targets, "targets")):
            if len(set(values)) < len(values):
                yield problem("lists something twice", (name,))
        yield from self._seeds_set_otherwise()
        for index, choice in enumerate(self.exclude):
            yield from self._unknown(choice, ("exclude", index))
            if not choice:
                yield problem("names no variant", ("exclude", index))
        yield from self._unknown(self.only, ("only",))
        yield from self._unknown(self.baseline, ("baseline",))

    def _seeds_set_otherwise(self) -> Iterator[InitErrorDetails]:
        common = [Override(t, ("overrides", i)) for i, t in enumerate(self.overrides)]
        for text, place in [*common, *self.placed_overrides()]:
            if text.partition("=")[0].strip() == "seed":
                yield problem("seeds are listed in `seeds` alone", place)

    def placed_overrides(self) -> Iterator[Override]:
        """Yield the overrides of all variants, placed within the study."""
        for index, axis in enumerate(self.axes):
            for variant in range(len(axis.labels)):
                for text, place in axis.overrides(variant):
                    yield Override(text, ("axes", index, *place))

    def _unknown(
        self, choice: Mapping[str, str], place: KeyPath
    ) -> Iterator[InitErrorDetails]:
        """Yield the unknown axes and variants of a choice."""
        labels = {axis.title: axis.labels for axis in self.axes}
        for title, label in choice.items():
            if title not in labels:
                text = _no_such("axis", title, list(labels))
                yield problem(text, (*place, title))
            elif label not in labels[title]:
                text = _no_such("variant", label, labels[title])
                yield problem(text, (*place, title))


def folder_name(label: str) -> str:
    """Return a label as part of a folder's name; it holds no `+` and no slash."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", label).lstrip(".") or "-"


def _no_such(what: str, name: str, names: Sequence[str]) -> str:
    hint = did_you_mean(name, names)
    return f"no {what} is called {name!r}{hint} (there are: {', '.join(names)})"


def problem(text: str, place: KeyPath) -> InitErrorDetails:
    """Return a refusal in these words of what is at a place."""
    error = PydanticCustomError("stated", "{text}", {"text": text})
    return InitErrorDetails(type=error, loc=place, input=None)

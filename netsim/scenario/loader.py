"""YAML to records and back; one message lists all errors with line and column."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from netsim.core.quantities import QUANTITIES, closest
from netsim.errors import InputError, Refusal
from netsim.scenario.overrides import Overridden, apply_overrides
from netsim.scenario.permission import WORKING_TREE, UserCode
from netsim.scenario.record import note_model, read_model, yaml_keys
from netsim.scenario.source import (
    SCALARS,
    Document,
    KeyPath,
    Position,
    YamlValue,
    parse_document,
    read_document,
)
from netsim.scenario.wording import describe, is_echo, unknown_key

MAX_ERRORS = 20
Model = TypeVar("Model", bound=BaseModel)


def _right(record: BaseModel) -> Iterable[Refusal]:
    """Return no refusals: the default of ``check``."""
    return ()


def load(
    path: Path,
    model: type[Model],
    *,
    overrides: Sequence[str] = (),
    check: Callable[[Model], Iterable[Refusal]] = _right,
    code: UserCode | None = WORKING_TREE,
) -> Model:
    """Return a YAML file as a ``model``; one ``InputError`` lists all errors.

    ``check`` yields contradictions between valid parts. Validators find the file's
    folder as ``info.context["folder"]``. Without a permission (``code=None``) no class
    of a user's own is imported; such a choice is ``Opaque``.
    """
    context = {"folder": path.parent, "code": code}
    return _load(read_document(path), model, overrides, context, check)


def load_text(
    text: str,
    model: type[Model],
    *,
    name: str = "scenario",
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    check: Callable[[Model], Iterable[Refusal]] = _right,
    code: UserCode | None = WORKING_TREE,
) -> Model:
    """Return a YAML text as a ``model``; ``name`` replaces the file in messages."""
    document = parse_document(text, name)
    context = {"folder": folder or Path(), "code": code}
    return _load(document, model, overrides, context, check)


def dump(record: BaseModel) -> str:
    """Return the YAML with all defaults; loading it gives an equal record."""
    text = yaml.dump(
        _plain_data(record),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=88,
    )
    assert isinstance(text, str)
    return text


def as_yaml(values: Mapping[str, object]) -> str:
    """Return a mapping of plain values as YAML that loads to the same."""
    plain = json.loads(json.dumps(values, default=str))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    assert isinstance(text, str)
    return text


def scenario_digest(record: BaseModel) -> str:
    """Return the SHA-256 of a record's values, independent of the order of keys."""
    text = json.dumps(_plain_data(record), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of the YAML that ``load`` reads as ``model``."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    _write_defaults(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _write_defaults(schema: object) -> None:
    """Replace the defaults of quantities by their text, such as ``20 MHz``."""
    if isinstance(schema, list):
        for part in schema:
            _write_defaults(part)
    if not isinstance(schema, dict):
        return
    for part in schema.values():
        _write_defaults(part)
    units = [part.get("x-unit") for part in [schema, *schema.get("anyOf", ())]]
    default = schema.get("default")
    if isinstance(default, int | float) and any(units):
        unit = next(filter(None, units))
        schema["default"] = QUANTITIES[unit].text(default)


def _plain_data(record: BaseModel) -> dict[str, Any]:
    return record.model_dump(mode="json", by_alias=True)


class _Dumper(yaml.SafeDumper):
    """A YAML writer that quotes text which YAML 1.1 or 1.2 would read as a number,
    boolean or null."""

    def ignore_aliases(self, data: object) -> bool:
        return True


for _name, _pattern, _first in SCALARS:
    _Dumper.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first
    )


def _load(
    document: Document,
    model: type[Model],
    overrides: Sequence[str],
    given: Mapping[str, object],
    check: Callable[[Model], Iterable[Refusal]],
) -> Model:
    data, origins = apply_overrides(document.data, overrides)
    models: dict[int, type[BaseModel]] = {}
    context = {"source": "yaml", **given, "models": models}
    note_model(context, data, model)
    report = _Report(document, Overridden(data, origins), models)
    try:
        record = read_model(model, data, context)
    except ValidationError as error:
        raise InputError(report.invalid(error.errors(include_url=False))) from error
    refusals = list(check(record))
    if refusals:
        raise InputError(report.refused(refusals))
    return record


@dataclass(frozen=True)
class _Complaint:
    """One error: its path in the data, and the missing or unknown key."""

    path: KeyPath
    message: str
    key: str | int | None = None
    is_unknown: bool = False


@dataclass(frozen=True)
class _Report:
    """Turns errors into lines that point into the file."""

    document: Document
    overridden: Overridden
    models: dict[int, type[BaseModel]]

    def invalid(self, errors: list[ErrorDetails]) -> str:
        """Return the message of pydantic's errors: each value by itself."""
        complaints = [self._complaint(e) for e in errors if not is_echo(e)]
        return self._text(_merged(_without_echoes(complaints)))

    def refused(self, refusals: Sequence[Refusal]) -> str:
        """Return the message of refusals: values that contradict each other."""
        found = [
            (_follow(self.overridden.data, path)[0], why) for path, why in refusals
        ]
        return self._text([_Complaint(*one) for one in dict.fromkeys(found)])

    def _text(self, complaints: Iterable[_Complaint]) -> str:
        """Return one line per error in the order of the file, at most
        ``MAX_ERRORS``."""
        placed = sorted(map(self._place, complaints), key=lambda item: item[0])
        lines = [line for _, line in placed[:MAX_ERRORS]]
        if len(placed) > MAX_ERRORS:
            lines.append(f"and {len(placed) - MAX_ERRORS} more")
        return "\n".join(lines)

    def _complaint(self, error: ErrorDetails) -> _Complaint:
        loc = error["loc"]
        if error["type"] not in ("missing", "extra_forbidden"):
            path, _ = _follow(self.overridden.data, loc)
            return _Complaint(path, describe(error))
        path, _ = _follow(self.overridden.data, loc[:-1])
        if error["type"] == "missing":
            return _Complaint(path, describe(error), loc[-1])
        keys = [key for model in self._models_at(path) for key in yaml_keys(model)]
        message = unknown_key(str(loc[-1]), keys)
        return _Complaint(path, message, loc[-1], is_unknown=True)

    def _models_at(self, path: KeyPath) -> list[type[BaseModel]]:
        """Return the models that can read the mapping at ``path``."""
        _, value = _follow(self.overridden.data, path)
        if id(value) in self.models:
            return [self.models[id(value)]]
        while path and isinstance(path[-1], int):
            path = path[:-1]
        if not path:
            return []
        return [
            model
            for above in self._models_at(path[:-1])
            for name, key in zip(above.model_fields, yaml_keys(above), strict=True)
            if key == path[-1]
            for model in _models_in(above.model_fields[name].annotation)
        ]

    def _place(self, complaint: _Complaint) -> tuple[tuple[int, int], str]:
        """Return the sort key and the line of one error."""
        dotted = ".".join(map(str, complaint.path))
        message = f"{dotted}: {complaint.message}" if dotted else complaint.message
        path = complaint.path
        if complaint.is_unknown and complaint.key is not None:
            path = (*path, complaint.key)
        origin, at = self._origin(path, complaint.is_unknown)
        if origin is not None:
            return (2**31, 0), f"--set {origin}: {message}"
        return (at.line, at.column), self.document.source.point(at, message)

    def _origin(self, path: KeyPath, is_unknown: bool) -> tuple[str | None, Position]:
        """Return the override that set ``path``, or the position in the file."""
        origins, document = self.overridden.origins, self.document
        for end in range(len(path), 0, -1):  # all below an override is its own
            if path[:end] in origins:
                return origins[path[:end]], Position(1, 1)
        for end in range(len(path), -1, -1):
            part = path[:end]
            if part in document.values:
                is_whole = end < len(path) or _is_collection(document.data, part)
                if part in document.keys and (is_whole or is_unknown):
                    return None, document.keys[part]
                return None, document.values[part]
            below = [o for p, o in origins.items() if p[:end] == part]
            if part and below:
                return below[-1], Position(1, 1)
        return None, Position(1, 1)


def _follow(data: YamlValue, loc: Sequence[str | int]) -> tuple[KeyPath, YamlValue]:
    """Return the path of ``loc`` in the data, and its value; tags that pydantic adds
    are skipped."""
    path: KeyPath = ()
    for step in loc:
        if not _has(data, step):
            continue
        assert isinstance(data, dict | tuple)
        data = data[step]  # type: ignore[index]
        path = (*path, step)
    return path, data


def _has(data: YamlValue, step: str | int) -> bool:
    if isinstance(data, tuple):
        return isinstance(step, int) and step < len(data)
    return isinstance(data, dict) and step in data


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models in an annotation such as ``tuple[Cell, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _is_collection(data: YamlValue, path: KeyPath) -> bool:
    found, value = _follow(data, path)
    return found == path and isinstance(value, dict | tuple)


def _without_echoes(complaints: list[_Complaint]) -> list[_Complaint]:
    """Drop a missing key if an unknown key at the same place is a misspelling of it."""
    missing: dict[KeyPath, list[str]] = {}
    for complaint in complaints:
        if complaint.key is not None and not complaint.is_unknown:
            missing.setdefault(complaint.path, []).append(str(complaint.key))
    meant = {
        (complaint.path, closest(str(complaint.key), missing[complaint.path]))
        for complaint in complaints
        if complaint.is_unknown and complaint.path in missing
    }
    return [c for c in complaints if c.is_unknown or (c.path, c.key) not in meant]


def _merged(complaints: list[_Complaint]) -> list[_Complaint]:
    """Join the errors that the members of a union report for one value."""
    by_place: dict[tuple[KeyPath, str | int | None], _Complaint] = {}
    for complaint in complaints:
        place = (complaint.path, complaint.key)
        before = by_place.setdefault(place, complaint)
        if complaint.message not in before.message:
            message = f"{before.message}; or {complaint.message}"
            by_place[place] = replace(before, message=message)
    return list(by_place.values())

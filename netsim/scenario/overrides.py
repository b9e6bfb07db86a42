"""Overrides from a command line, such as ``cell.uplink.band=10 MHz``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from netsim.errors import InputError
from netsim.scenario.source import KeyPath, YamlMapping, YamlValue, parse_value

MAX_STEPS = 40


class Overridden(NamedTuple):
    """The data with all overrides, and the override that set each changed path."""

    data: YamlMapping
    origins: dict[KeyPath, str]


def apply_overrides(data: YamlMapping, overrides: Sequence[str]) -> Overridden:
    """Return ``data`` after all ``path.to.key=value`` in order."""
    origins: dict[KeyPath, str] = {}
    problems = []
    for override in overrides:
        try:
            data = _apply(data, override, origins)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return Overridden(data, origins)


def _apply(
    data: YamlMapping, override: str, origins: dict[KeyPath, str]
) -> YamlMapping:
    dotted, equals, text = override.partition("=")
    steps = [step.strip() for step in dotted.split(".")]
    if not equals or not all(steps) or len(steps) > MAX_STEPS:
        raise InputError(f"--set {override}: must be of the form path.to.key=value")
    value = parse_value(text, f"--set {override}")
    changed, path = _replace(data, steps, value, f"--set {override}")
    for stale in [old for old in origins if old[: len(path)] == path]:
        del origins[stale]
    origins[path] = override
    assert isinstance(changed, dict)
    return changed


def _replace(
    data: YamlValue, steps: list[str], value: YamlValue, label: str, done: KeyPath = ()
) -> tuple[YamlValue, KeyPath]:
    """Return ``data`` with one value replaced, and the path of that value."""
    if not steps:
        return value, done
    step, rest = steps[0], steps[1:]
    if isinstance(data, tuple):
        index = _index(step, len(data), label, done)
        new, path = _replace(data[index], rest, value, label, (*done, index))
        return (*data[:index], new, *data[index + 1 :]), path
    if data is not None and not isinstance(data, dict):
        where = ".".join(map(str, done))
        raise InputError(f"{label}: {where} is {data!r}, it has no key {step!r}")
    mapping: YamlMapping = data or {}
    key = int(step) if step.isdecimal() and int(step) in mapping else step
    new, path = _replace(mapping.get(key), rest, value, label, (*done, key))
    return {**mapping, key: new}, path


def _index(step: str, num_items: int, label: str, done: KeyPath) -> int:
    if step.isdecimal() and int(step) < num_items:
        return int(step)
    where = ".".join(map(str, done))
    raise InputError(
        f"{label}: {where} is a list of {num_items}; its items are numbered from 0, "
        f"got {step!r}"
    )

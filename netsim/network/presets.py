"""Cells by name, with the carrier, bands, powers and rates of a technology."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from netsim.core.quantities import did_you_mean
from netsim.scenario.record import refusal
from netsim.scenario.source import YamlMapping, YamlValue, read_document

_FILE = Path(__file__).with_name("presets.yaml")


class Preset(NamedTuple):
    """A named cell: one line about it, the sources of its figures, and its settings."""

    about: str
    source: str
    cell: YamlMapping


@lru_cache(maxsize=1)
def presets() -> Mapping[str, Preset]:
    """Return the shipped presets by name, in the order of their file."""
    found = read_document(_FILE).data
    return {name: _preset(one) for name, one in found.items() if isinstance(name, str)}


def _preset(value: YamlValue) -> Preset:
    assert isinstance(value, dict), f"{_FILE.name}: a preset is a mapping"
    about, source, cell = value["about"], value["source"], value["cell"]
    assert isinstance(about, str)
    assert isinstance(source, str)
    assert isinstance(cell, dict)
    return Preset(about, source, cell)


def expanded(given: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of a cell with those of its preset; the cell's own replace
    the preset's. Refuse an unknown name."""
    own = dict(given)
    name = own.pop("preset")
    known = presets()
    if not isinstance(name, str) or name not in known:
        hint = did_you_mean(str(name), known)
        text = f"unknown preset {name!r}{hint} (presets: {', '.join(known)})"
        raise refusal(text, name, ("preset",), bare=True)
    whole = _merged({"name": name, **known[name].cell}, own)
    assert isinstance(whole, dict)
    return whole


def or_preset(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a whole cell, or of a preset with some of its keys."""
    shown = ("title", "description")
    keys = [key for key in whole["properties"] if key != "preset"]
    full = {key: part for key, part in whole.items() if key not in shown}
    full["properties"] = {key: whole["properties"][key] for key in keys}
    named = {"preset": {"enum": list(presets())}, **dict.fromkeys(keys, True)}
    partial = {
        "type": "object",
        "properties": named,
        "required": ["preset"],
        "additionalProperties": False,
    }
    return {**{key: whole[key] for key in shown}, "anyOf": [full, partial]}


def _merged(preset: object, own: object) -> object:
    """Return a setting of a preset where the cell's own replaces it, key by key; one of
    another ``kind`` replaces it whole."""
    if not isinstance(preset, Mapping) or not isinstance(own, Mapping):
        return own
    if own.get("kind", preset.get("kind")) != preset.get("kind"):
        return own
    both = {
        key: _merged(preset[key], value) if key in preset else value
        for key, value in own.items()
    }
    return {**preset, **both}

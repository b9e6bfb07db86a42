"""A scenario from a file or a text, checked as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fl.memory.code import code_of, own_classes
from netsim.cosim.checks.scenario import contradictions
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.scenario import UserCode, as_yaml, load, load_text
from netsim.scenario.permission import WORKING_TREE


def read_scenario(
    path: Path, overrides: tuple[str, ...] = (), code: UserCode = WORKING_TREE
) -> Scenario:
    """Return the scenario of a YAML file, with ``path=value`` overrides applied; its
    classes of a user's own are imported where ``code`` permits it."""
    return _named(
        load(path, Scenario, overrides=overrides, check=contradictions, code=code)
    )


def scenario_of(
    given: str | Path | Mapping[str, object],
    overrides: Sequence[str | Mapping[str, object]],
    code: UserCode = WORKING_TREE,
) -> Scenario:
    """Return the scenario of a file, a shipped name or a mapping, with overrides as
    texts or mappings."""
    texts = tuple(text for one in overrides for text in _texts(one))
    if isinstance(given, str | Path):
        return read_scenario(find_scenario(str(given)), texts, code)
    text = as_yaml(given)
    return _named(
        load_text(text, Scenario, overrides=texts, check=contradictions, code=code)
    )


def _texts(override: str | Mapping[str, object]) -> Iterator[str]:
    if isinstance(override, str):
        yield override
    else:
        for path, value in override.items():
            yield f"{path}={json.dumps(value, default=str)}"


def parse_scenario(text: str, folder: Path, code: UserCode = WORKING_TREE) -> Scenario:
    """Return the scenario of a YAML text whose own files are searched in ``folder``."""
    return _named(
        load_text(text, Scenario, folder=folder, check=contradictions, code=code)
    )


def _named(scenario: Scenario) -> Scenario:
    """Return a scenario whose own classes are named by their code of now: as loaded."""
    if own_classes([scenario]):
        code_of([], [scenario])
    return scenario


def read_unloaded(path: Path) -> Scenario:
    """Return a scenario without importing any class of a user's own: such a choice is
    an ``Opaque`` record, and contradictions are not looked for."""
    return load(path, Scenario, code=None)

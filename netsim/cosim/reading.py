"""A scenario from a file or a text, checked as a whole."""

from __future__ import annotations

from pathlib import Path

from netsim.cosim.checks.scenario import contradictions
from netsim.cosim.scenario import Scenario
from netsim.scenario import UserCode, load, load_text
from netsim.scenario.permission import WORKING_TREE


def read_scenario(
    path: Path, overrides: tuple[str, ...] = (), code: UserCode = WORKING_TREE
) -> Scenario:
    """Return the scenario of a YAML file, with ``path=value`` overrides applied; its
    classes of a user's own are imported where ``code`` permits it."""
    return load(path, Scenario, overrides=overrides, check=contradictions, code=code)


def parse_scenario(text: str, folder: Path, code: UserCode = WORKING_TREE) -> Scenario:
    """Return the scenario of a YAML text whose own files are searched in ``folder``."""
    return load_text(text, Scenario, folder=folder, check=contradictions, code=code)


def read_unloaded(path: Path) -> Scenario:
    """Return a scenario without importing any class of a user's own: such a choice is
    an ``Opaque`` record, and contradictions are not looked for."""
    return load(path, Scenario, code=None)

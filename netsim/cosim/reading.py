"""A scenario from a file or a text, checked as a whole."""

from __future__ import annotations

from pathlib import Path

from netsim.cosim.checks.scenario import contradictions
from netsim.cosim.scenario import Scenario
from netsim.scenario import load, load_text


def read_scenario(path: Path, overrides: tuple[str, ...] = ()) -> Scenario:
    """Return the scenario of a YAML file, with ``path=value`` overrides applied."""
    return load(path, Scenario, overrides=overrides, check=contradictions)


def parse_scenario(text: str, folder: Path) -> Scenario:
    """Return the scenario of a YAML text whose own files are searched in ``folder``."""
    return load_text(text, Scenario, folder=folder, check=contradictions)

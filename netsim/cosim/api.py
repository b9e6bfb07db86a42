"""A run from Python, in one call."""

from __future__ import annotations

from pathlib import Path

from netsim.cosim.run import claim_folder, run_scenario
from netsim.cosim.scenario import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.runs.run import Run, load_run

RUNS = Path("results") / "runs"


def run_and_load(
    scenario: str | Path,
    overrides: tuple[str, ...],
    out: str | Path | None,
    workers: int = 1,
) -> Run:
    """Run a scenario and return the finished run."""
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    config = read_scenario(find_scenario(str(scenario)), overrides)
    folder = Path(out) if out is not None else claim_folder(config, RUNS)
    run_scenario(config, folder, workers=workers)
    return load_run(folder)

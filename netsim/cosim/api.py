"""A run from Python, in one call."""

from __future__ import annotations

from pathlib import Path

from netsim.cosim.run import claim_folder, run_scenario
from netsim.cosim.scenario import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.runs import Run, load_run

RUNS = Path("results") / "runs"


def run_and_load(
    scenario: str | Path, overrides: tuple[str, ...], out: str | Path | None
) -> Run:
    """Run a scenario and return the finished run."""
    config = read_scenario(find_scenario(str(scenario)), overrides)
    folder = Path(out) if out is not None else claim_folder(config, RUNS)
    run_scenario(config, folder)
    return load_run(folder)

"""A discrete-event co-simulator of federated LoRA fine-tuning over wireless links."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from netsim.core.version import VERSION as __version__

if TYPE_CHECKING:
    from netsim.runs import joins, questions
    from netsim.runs.run import Run, load_run
    from netsim.study.frames import load_study
    from netsim.study.run import run_study

__all__ = [
    "__version__",
    "joins",
    "load_run",
    "load_study",
    "questions",
    "run",
    "run_study",
]

# Imported when asked for: `netsim --help` needs neither pandas nor torch.
_PLACES = {
    "joins": "netsim.runs.joins",
    "load_run": "netsim.runs.run",
    "load_study": "netsim.study.frames",
    "questions": "netsim.runs.questions",
    "run_study": "netsim.study.run",
}


def run(
    scenario: str | Path | Mapping[str, object],
    *overrides: str | Mapping[str, object],
    out: str | Path | None = None,
    workers: int | None = None,
    ray: str | None = None,
    allow_code: bool = False,
) -> Run:
    """Run a scenario, a file, a shipped name or a mapping, and return the finished run.

    ``overrides`` are written as for ``--set``, ``"cell.uplink.band=1 MHz"``, or as
    mappings, ``{"cell.uplink.band": "1 MHz"}``. Without ``out`` the run gets a new
    folder under ``results/runs``. With more ``workers`` clients train in that many
    processes, or on the Ray cluster ``ray``, with the same results. Classes of your own
    are imported from the current directory and installed packages, with ``allow_code``
    also from the scenario's folder, wherever it is; the log ``netsim`` names their
    files first, as a warning.
    """
    import logging

    from netsim.cosim.reading import scenario_of
    from netsim.cosim.run import claim_folder, run_scenario
    from netsim.cosim.workers import Workers
    from netsim.runs.run import load_run
    from netsim.scenario.permission import announcing

    who = Workers(workers, ray)
    code = announcing(logging.getLogger("netsim").warning, allows_given=allow_code)
    config = scenario_of(scenario, overrides, code)
    folder = Path(out) if out is not None else claim_folder(config)
    run_scenario(config, folder, workers=who)
    return load_run(folder)


def __getattr__(name: str) -> object:
    """Return a name of ``__all__`` that is imported when it is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'netsim' has no attribute {name!r}")
    if name in ("joins", "questions"):
        return import_module(_PLACES[name])
    return getattr(import_module(_PLACES[name]), name)

"""A discrete-event co-simulator of federated LoRA fine-tuning over wireless links."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from netsim.core.version import VERSION as __version__

if TYPE_CHECKING:
    from netsim.runs import joins, questions
    from netsim.runs.run import Run
    from netsim.study import Study

__all__ = [
    "__version__",
    "joins",
    "load_run",
    "load_study",
    "questions",
    "run",
    "run_study",
]

# Imports stand inside the functions: `netsim --help` needs neither pandas nor torch.


def run(
    scenario: str | Path,
    *overrides: str,
    out: str | Path | None = None,
    workers: int = 1,
    allow_code: bool = False,
) -> Run:
    """Run a scenario, a file or a shipped name, and return the finished run.

    ``overrides`` are written as for ``--set``: ``"cell.uplink.band=1 MHz"``. Without
    ``out`` the run gets a new folder under ``results/runs``. With more ``workers``
    clients train in that many processes, with the same results. Classes of your own are
    imported from the current directory and installed packages, with ``allow_code`` also
    from the scenario's folder, wherever it is.
    """
    from netsim.cosim.reading import read_scenario
    from netsim.cosim.run import claim_folder, run_scenario
    from netsim.cosim.shipped import find_scenario
    from netsim.errors import InputError
    from netsim.scenario import UserCode

    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    code = UserCode(allows_given=allow_code)
    config = read_scenario(find_scenario(str(scenario)), overrides, code)
    folder = Path(out) if out is not None else claim_folder(config)
    run_scenario(config, folder, workers=workers)
    return load_run(folder)


def load_run(path: str | Path) -> Run:
    """Return a run on disk, whose tables are pandas frames."""
    from netsim.runs.run import load_run

    return load_run(path)


def run_study(
    study: str | Path,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    ray: str | None = None,
    allow_code: bool = False,
) -> Study:
    """Run what is missing of a study, a file or a shipped name, and return it.

    Without ``out`` its folder is under ``results/studies``. ``workers`` is how many
    runs go on at a time, on a Ray cluster if ``ray`` is its address or "auto"; the
    results are the same. ``allow_code`` as for ``run``.
    """
    from netsim.study.run import run_study

    return run_study(study, out=out, workers=workers, ray=ray, allow_code=allow_code)


def load_study(folder: str | Path) -> Study:
    """Return a study on disk, whose tables are pandas frames."""
    from netsim.study import load_study

    return load_study(folder)


def __getattr__(name: str) -> ModuleType:
    """Return `netsim.joins` or `netsim.questions`, which need pandas."""
    if name not in ("joins", "questions"):
        raise AttributeError(f"module 'netsim' has no attribute {name!r}")
    return import_module(f"netsim.runs.{name}")

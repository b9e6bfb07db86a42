"""A discrete-event co-simulator of federated LoRA fine-tuning over wireless links."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from netsim.runs.run import Run
    from netsim.study import Study

__all__ = ["load_run", "load_study", "run", "run_study"]

__version__ = "0.1.0"


def run(
    scenario: str | Path,
    *overrides: str,
    out: str | Path | None = None,
    workers: int = 1,
) -> Run:
    """Run a scenario, a file or a shipped name, and return the finished run.

    ``overrides`` are written as for ``--set``: ``"cell.uplink.band=1 MHz"``. Without
    ``out`` the run has a new folder under ``results/runs``. With more ``workers``
    clients train in as many processes, with the same results.
    """
    from netsim.cosim.api import run_and_load  # here, for the same reason

    return run_and_load(scenario, overrides, out, workers)


def load_run(path: str | Path) -> Run:
    """Return a run on disk, whose tables are pandas frames."""
    from netsim.runs import run as runs  # here: it imports pandas

    return runs.load_run(path)


def run_study(
    study: str | Path,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    ray: str | None = None,
) -> Study:
    """Run what is missing of a study, a file or a shipped name, and return it.

    Without ``out`` its folder is under ``results/studies``. With more ``workers`` so
    many runs go on at a time, on a Ray cluster where ``ray`` is its address or "auto",
    with the same results.
    """
    from netsim.study import run as studies  # here, for the same reason

    return studies.run_study(study, out=out, workers=workers, ray=ray)


def load_study(folder: str | Path) -> Study:
    """Return a study on disk, whose tables are pandas frames."""
    from netsim.study import load_study  # here, for the same reason

    return load_study(folder)

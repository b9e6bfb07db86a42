"""The result of one run: when it met a target, and what it had used by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from fl.contract import METRICS
from netsim.learner.stop import Target
from netsim.runs.run import Run

ENERGIES = ("compute_energy_j", "transmit_energy_j", "idle_energy_j")
THE_END = "the end"  # what a study without targets compares


@dataclass(frozen=True, slots=True)
class Outcome:
    """The moment at which a run met a target; of a run that never did, its end.

    ``bits`` and ``energy_j`` are of the messages and tasks that had ended by then.
    """

    target: str
    is_reached: bool
    time_ns: int
    rounds: int
    upload_bits: int
    download_bits: int
    energy_j: float


def outcomes(run: Run, targets: Sequence[Target]) -> list[Outcome]:
    """Return a complete run's outcome for every target; without any, at its end."""
    if not targets:
        return [_until(run, THE_END, None, is_reached=True)]
    found = []
    for target in targets:
        met = first_met(run, target)
        found.append(_until(run, target.title, met, is_reached=met is not None))
    return found


def first_met(run: Run, target: Target) -> tuple[int, int] | None:
    """Return time and round of the first global evaluation that meets a target."""
    evals = run.global_evals(target.split, with_pilots=False)
    found = evals[target.met(evals[target.metric].astype("float64").tolist())]
    if found.empty:
        return None
    first = found.iloc[0]
    return int(first["time_ns"]), int(first["round_id"])


def _until(
    run: Run, name: str, moment: tuple[int, int] | None, *, is_reached: bool
) -> Outcome:
    """Return what a run had used at a time and a round; without these, at its end."""
    whole = (run.manifest.sim_time_ns, run.manifest.rounds)
    time_ns, rounds = whole if moment is None else moment
    transfers, tasks = run.transfers, run.tasks
    if moment is not None:
        transfers = transfers[transfers["end_ns"] <= time_ns]
        tasks = tasks[tasks["end_ns"] <= time_ns]
    bits = transfers.groupby("direction", observed=True)["bits"].sum()
    return Outcome(
        target=name,
        is_reached=is_reached,
        time_ns=time_ns,
        rounds=rounds,
        upload_bits=int(bits.get("up", 0)),
        download_bits=int(bits.get("down", 0)),
        energy_j=float(tasks[list(ENERGIES)].to_numpy(dtype="float64").sum()),
    )


def client_energies_j(run: Run, until_ns: int) -> pd.Series:
    """Return the joules of each client that took part, in tasks that had ended then."""
    tasks = run.tasks[run.tasks["end_ns"] <= until_ns]
    return tasks[list(ENERGIES)].sum(axis=1).groupby(tasks["client_id"]).sum()


def final_metrics(run: Run) -> dict[str, float | None]:
    """Return the last global value of every metric; None for one that it has not."""
    return {f"final_{name}": run.manifest.final.get(name) for name in METRICS}


def curve(run: Run) -> pd.DataFrame:
    """Return a run's global evaluations: round, time in ns, phase and metrics."""
    return run.global_evals()[["round_id", "time_ns", "phase", *METRICS]].astype(
        {"phase": "str"} | dict.fromkeys(METRICS, "float64")
    )

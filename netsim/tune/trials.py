"""The results of a search's trials, as a table and as sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from fl.contract import FALLING_METRICS
from netsim.core.quantities import format_quantity
from netsim.learner.stop import Target, smoothed
from netsim.runs.run import Run
from netsim.study.outcomes import client_energies_j, final_metrics, outcomes
from netsim.tune.search import MEASURES, TuneConfig

AS_IS = 0  # the trial that is the scenario itself
UNIT_SUFFIX = {"s": "_s", "J": "_j", "bit": "_bits", "": ""}

Status = Literal["complete", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a trial: by measure its value, NaN where there is none.

    They are of the moment at which the target was met, else of the end; ``lack`` is how
    much the metric lacks to the target, relative to its level.
    """

    values: Mapping[str, float]
    is_reached: bool
    lack: float


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial: its settings, and means over seeds of its results."""

    trial: int
    status: Status
    reason: str = ""
    settings: Mapping[str, str] | None = None
    runs: tuple[Measured, ...] = ()

    def value(self, config: TuneConfig) -> float:
        """Return the objective, its mean over seeds."""
        return float(np.mean([run.values[config.measure] for run in self.runs]))

    def violations(self, config: TuneConfig) -> tuple[float, ...]:
        """Return by how much the worst seed misses the target, where there is one, and
        breaks each limit; what is not above zero is kept."""
        limits = [
            max(limit.violation(run.values[limit.measure]) for run in self.runs)
            for limit in config.limits
        ]
        if config.target is None:
            return tuple(limits)
        return (max(run.lack for run in self.runs), *limits)

    def is_feasible(self, config: TuneConfig) -> bool:
        """Return whether every seed met the target and kept all limits."""
        return self.status == "complete" and all(
            beyond <= 0 for beyond in self.violations(config)
        )


def measured(run: Run, target: Target | None) -> Measured:
    """Return the measures of a complete run."""
    end = outcomes(run, [] if target is None else [target])[0]
    finals = {
        name.removeprefix("final_"): math.nan if value is None else value
        for name, value in final_metrics(run).items()
    }
    values = {
        "time": end.time_ns / 1e9,
        "energy": end.energy_j,
        "energy per client": float(client_energies_j(run, end.time_ns).max()),
        "bits": float(end.upload_bits + end.download_bits),
        "upload bits": float(end.upload_bits),
        "download bits": float(end.download_bits),
        "rounds": float(end.rounds),
        **finals,
    }
    lack = 0.0 if target is None or end.is_reached else _lack(run, target)
    return Measured(values, end.is_reached, lack)


def _lack(run: Run, target: Target) -> float:
    """Return what the best global value lacks to the level, relative to it."""
    evals = run.global_evals(target.split, with_pilots=False)
    values = smoothed(evals[target.metric].astype("float64").tolist(), target.over)
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return math.inf
    best = min(numbers) if target.metric in FALLING_METRICS else max(numbers)
    return abs(best - target.level) / (abs(target.level) or 1.0)


def table(rows: Sequence[TrialRow], config: TuneConfig) -> pd.DataFrame:
    """Return one row per trial; a searched setting is its override's value."""
    return pd.DataFrame([_flat(row, config) for row in rows])


def _flat(row: TrialRow, config: TuneConfig) -> dict[str, object]:
    flat: dict[str, object] = {
        "trial": row.trial,
        "status": row.status,
        "reason": row.reason,
        "is_feasible": row.is_feasible(config),
        "num_seeds": len(row.runs),
        "num_reached": sum(run.is_reached for run in row.runs),
        "value": row.value(config) if row.runs else math.nan,
    }
    flat |= {path: (row.settings or {}).get(path) for path in config.search}
    for name, unit in MEASURES.items():
        column = name.replace(" ", "_") + UNIT_SUFFIX[unit]
        column = column.replace("_bits_bits", "_bits").replace("bits_bits", "bits")
        values = [run.values[name] for run in row.runs]
        flat[column] = float(np.mean(values)) if values else math.nan
    return flat


def best(rows: Sequence[TrialRow], config: TuneConfig) -> TrialRow | None:
    """Return the best trial that keeps all limits, the first of equals; maybe none."""
    kept = [row for row in rows if row.is_feasible(config)]
    sign = 1 if config.is_least else -1
    return min(kept, key=lambda row: sign * row.value(config), default=None)


def sentence(rows: Sequence[TrialRow], config: TuneConfig) -> str:
    """Return in plain words what was found."""
    within = f" within {' and '.join(config.constraints)}" if config.constraints else ""
    goal: str = config.objective
    if config.target is not None:
        goal = f"{goal.removesuffix(' target')} {config.target.title}"
    found = best(rows, config)
    if found is None:
        return f"{goal}{within}: none of {len(rows)} trials keeps to it"
    chosen = ", ".join(f"{k}={v}" for k, v in (found.settings or {}).items())
    what = chosen if found.trial != AS_IS else "the scenario as it is"
    return (
        f"{goal}{within}: {_shown(found.value(config), config)} with {what} (trial "
        f"{found.trial} of {len(rows) - 1}){_against_as_is(rows, found, config)}"
    )


def _against_as_is(
    rows: Sequence[TrialRow], found: TrialRow, config: TuneConfig
) -> str:
    """Return how the scenario as it is compares with the best."""
    as_is = next((row for row in rows if row.trial == AS_IS), None)
    if as_is is None or found.trial == AS_IS or not as_is.runs:
        return ""
    if not as_is.is_feasible(config):
        return "; the scenario as it is does not keep to it"
    return f"; the scenario as it is: {_shown(as_is.value(config), config)}"


def _shown(value: float, config: TuneConfig) -> str:
    unit = MEASURES[config.measure]
    return format_quantity(value, unit, num_digits=3) if unit else f"{value:.4g}"

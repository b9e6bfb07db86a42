"""Simulated time to the target of each run of a study.

netsim study results/policy/policies.yaml --out results/studies/policy
python results/policy/study.py results/studies/policy results/policy/runs.csv

The last argument is the table to write, of the runs that are finished; the mean over
seeds goes to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import netsim
from netsim.policy.pilots import Curve
from netsim.study import folder_name

METRIC = "accuracy"


def run_of(study: Path, fleet: str, arm: str, seed: int) -> netsim.runs.run.Run:
    """Return one run of the study."""
    combination = f"{folder_name(fleet)}+{folder_name(arm)}"
    return netsim.load_run(study / "runs" / combination / str(seed))


def reached(run: netsim.runs.run.Run) -> dict[str, float]:
    """Return rounds and seconds of training until the loss that the plan is for."""
    if "loss" not in run.manifest.predicted:
        return {}
    trained = run.evals[run.evals.phase == "train"]
    numbers = trained.round_id - trained.round_id.iloc[0]
    seconds = (trained.time_ns - trained.time_ns.iloc[0]) / 1e9
    losses, level = tuple(trained.loss), run.manifest.predicted["loss"]
    rounds = Curve(rounds=tuple(numbers), losses=losses).crossing(level)
    time_s = Curve(rounds=tuple(seconds), losses=losses).crossing(level)
    if rounds is None or time_s is None:
        return {}
    return {"simulated_rounds": rounds.rounds, "simulated_s": time_s.rounds}


def fitted(run: netsim.runs.run.Run) -> dict[str, float]:
    """Return the exponent of ``r / k`` that a run measured in its pilots."""
    estimates = run.estimates
    found = estimates[estimates.name == "nu"]
    if not len(found) or pd.isna(found.iloc[0].standard_error):
        return {}
    return {"nu": found.iloc[0].value, "nu_error": found.iloc[0].standard_error}


def row(run: netsim.runs.run.Run, level: float) -> dict:
    """Return the figures of one run: a row of the table, without its names."""
    predicted = run.manifest.predicted
    charged = run.time_to(METRIC, level)
    free = run.time_to(METRIC, level, with_pilots=False)
    trained = run.rounds[run.rounds.phase == "train"]
    tasks = run.tasks[run.tasks.round_id > run.manifest.pilot_rounds]
    return {
        "time_s": charged.total_seconds(),
        "time_without_pilots_s": free.total_seconds(),
        "pilot_s": run.manifest.pilot_time_ns / 1e9,
        "rounds": len(trained),
        "mean_clients": trained.num_sampled.mean(),
        "mean_rank": tasks["rank"].mean(),
        "final_accuracy": run.manifest.final["accuracy"],
        "predicted_rounds": predicted.get("rounds"),
        "predicted_s": predicted.get("time_s"),
        **reached(run),
        **fitted(run),
        "digest": run.manifest.digest[:16],
    }


def rows(study: Path) -> pd.DataFrame:
    """Return one line per finished run of a study of fleets and policies."""
    table = netsim.load_study(study).table
    done = table[table.status == "complete"].sort_values("seed", kind="stable")
    found = []
    for one in done.itertuples():
        run = run_of(study, one.fleet, one.policy, one.seed)
        names = {"fleet": one.fleet, "arm": one.policy, "seed": one.seed}
        found.append({**names, **row(run, float(one.target.split()[-1]))})
    return pd.DataFrame(found)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors over seeds; of those that met the target."""
    groups = runs.groupby(["fleet", "arm"], sort=False)
    columns = ["time_s", "time_without_pilots_s"]
    found = groups[columns].agg(["mean", "sem"])
    found.columns = ["_".join(column) for column in found.columns]
    found["num_met"] = groups["time_s"].count()
    found["num_seeds"] = groups["seed"].count()
    return found.join(
        groups[["pilot_s", "rounds", "mean_clients", "mean_rank"]].mean()
    ).round(3)


def main() -> None:
    runs = rows(Path(sys.argv[1]))
    runs.round(6).to_csv(sys.argv[2], index=False)
    print(summary(runs).to_string())


if __name__ == "__main__":
    main()

"""Simulated time to accuracy 0.9: what each run of the study came to.

netsim study results/policy/policies.yaml --out results/studies/policy
python results/policy/study.py results/studies/policy

The first is 90 runs, about 12 minutes of CPU, and goes on where it stopped. Writes
runs.csv and summary.csv beside this file, of the runs that are finished.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import netsim
from netsim.policy.pilots import Curve
from netsim.study import folder_name

HERE = Path(__file__).parent
METRIC, LEVEL = "accuracy", 0.9


def run_of(study: Path, fleet: str, arm: str, seed: int) -> netsim.runs.Run:
    """Return one run of the study."""
    combination = f"{folder_name(fleet)}+{folder_name(arm)}"
    return netsim.load_run(study / "runs" / combination / str(seed))


def reached(run: netsim.runs.Run) -> dict[str, float]:
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


def row(fleet: str, arm: str, seed: int, run: netsim.runs.Run) -> dict:
    """Return one line of runs.csv."""
    predicted = run.manifest.predicted
    charged = run.time_to(METRIC, LEVEL)
    free = run.time_to(METRIC, LEVEL, with_pilots=False)
    trained = run.rounds[run.rounds.phase == "train"]
    return {
        "fleet": fleet,
        "arm": arm,
        "seed": seed,
        "time_s": charged.total_seconds(),
        "time_without_pilots_s": free.total_seconds(),
        "pilot_s": run.manifest.pilot_time_ns / 1e9,
        "rounds": len(trained),
        "mean_clients": trained.num_sampled.mean(),
        "mean_rank": run.tasks[run.tasks.round_id > run.manifest.pilot_rounds][
            "rank"
        ].mean(),
        "final_accuracy": run.manifest.final["accuracy"],
        "predicted_rounds": predicted.get("rounds"),
        "predicted_s": predicted.get("time_s"),
        **reached(run),
        "digest": run.manifest.digest[:16],
    }


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
    study = Path(sys.argv[1])
    table = netsim.load_study(study).table
    done = table[table.status == "complete"].sort_values("seed", kind="stable")
    rows = [
        row(one.fleet, one.policy, one.seed, run_of(study, *key))
        for one in done.itertuples()
        for key in [(one.fleet, one.policy, one.seed)]
    ]
    runs = pd.DataFrame(rows)
    runs.to_csv(HERE / "runs.csv", index=False)
    found = summary(runs)
    found.to_csv(HERE / "summary.csv")
    print(found.to_string())


if __name__ == "__main__":
    main()

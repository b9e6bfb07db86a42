"""When adaptive runs said that they would meet their target, and when they did.

python results/policy/forecasts.py 201 202 203

Plays the shipped `wide-fleet` on these seeds and adds a row per forecast from round 10
on to forecasts.csv. Prints the errors, and those of a constant guess: the geometric
mean time of the other seeds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

import netsim
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario

TABLE = Path(__file__).parent / "forecasts.csv"
FIRST_ROUND = 10


def forecasts(seed: int) -> pd.DataFrame:
    """Return the forecasts of one run, with the time at which it met its target."""
    scenario = read_scenario(find_scenario("wide-fleet"), (f"seed={seed}",))
    target = scenario.stop.target
    assert target is not None
    with TemporaryDirectory() as folder:
        run_scenario(scenario, Path(folder) / "run")
        run = netsim.load_run(Path(folder) / "run")
        rows = run.estimates[run.estimates.name == "target_time_s"]
        end = run.time_to(target.metric, target.level, over=target.over)
    rows = rows[rows.round_id >= FIRST_ROUND]
    return pd.DataFrame(
        {
            "seed": seed,
            "round_id": rows.round_id,
            "at_s": rows.time_ns / 1e9,
            "predicted_s": rows.value,
            "error_s": rows.standard_error,
            "met_s": end.total_seconds(),
        }
    )


def errors(table: pd.DataFrame) -> pd.DataFrame:
    """Return per part of the way the median absolute error, and a constant guess's."""
    logs = np.log(table.groupby("seed").met_s.first())
    others = np.exp((logs.sum() - logs) / (len(logs) - 1))
    seen = table.assign(
        error=(table.predicted_s / table.met_s - 1).abs(),
        guess=(table.seed.map(others) / table.met_s - 1).abs(),
        is_within=(table.predicted_s - table.met_s).abs() <= 2 * table.error_s,
        rounds=pd.cut(table.round_id, [9, 18, 27, 36, 1000]).astype("str"),
    )
    whole = pd.concat([seen, seen.assign(rounds="all")])
    return whole.groupby("rounds", sort=False).agg(
        forecasts=("error", "size"),
        median_error=("error", "median"),
        median_error_of_guess=("guess", "median"),
        within_two_errors=("is_within", "mean"),
    )


def main() -> None:
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame({"seed": []})
    for seed in map(int, sys.argv[1:]):
        if seed not in set(table.seed):
            table = pd.concat([table, forecasts(seed)], ignore_index=True)
            table.round(4).to_csv(TABLE, index=False)
    print(errors(table).round(2).to_string())


if __name__ == "__main__":
    main()

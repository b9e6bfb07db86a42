"""Pilots on a longer task: times with and without them, relative to uniform q.

netsim study results/policy/long.yaml --out results/studies/policy-long
python results/policy/long.py results/studies/policy-long

Writes long.csv to this folder, a row per run; prints the table of README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import netsim
from netsim.study import folder_name

HERE = Path(__file__).parent
BASELINE = "uniform q 0.15"


def rows(study: netsim.Study) -> pd.DataFrame:
    """Return per run the seconds to the target, with its pilots and without."""
    found = []
    for one in study.table.itertuples():
        folder = study.folder / "runs" / folder_name(str(one.policy)) / str(one.seed)
        run = netsim.load_run(folder)
        times = {
            name: run.time_to("accuracy", 0.9, with_pilots=charged).total_seconds()
            for name, charged in (("charged_s", True), ("free_s", False))
        }
        found.append({"policy": one.policy, "seed": one.seed, **times})
    return pd.DataFrame(found)


def speedups(found: pd.DataFrame) -> pd.DataFrame:
    """Return the speed-up over the baseline, paired by seed: geometric mean, lowest and
    highest seed."""
    times = found.set_index(["policy", "seed"])
    ratios = np.log(times.loc[BASELINE] / times)
    by_policy = ratios.groupby(level="policy", sort=False)
    return np.exp(by_policy.agg(["mean", "min", "max"])).round(2)


if __name__ == "__main__":
    table = rows(netsim.load_study(sys.argv[1]))
    table.to_csv(HERE / "long.csv", index=False)
    print(table.groupby("policy", sort=False).mean(numeric_only=True).round(0))
    print(speedups(table).to_string())

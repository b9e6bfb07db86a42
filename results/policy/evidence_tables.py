"""The tables of protocol.md from evidence.csv.

python results/policy/evidence_tables.py

Prints, for each fleet that has rows, what tuning chose and what its sweep cost, and
what judging found against uniform q.
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from netsim.study.student import LEVEL, MIN_SEEDS, holm, quantile

sys.path.insert(0, str(Path(__file__).parent))
from evidence import chosen, family, known

BASELINE = "uniform q"


def sign_flip_p(logs: np.ndarray) -> float:
    """Return how often a mean as far from zero comes of all choices of signs."""
    signs = np.array(list(itertools.product((1, -1), repeat=len(logs))))
    means = np.abs(signs @ logs)
    return float(np.mean(means >= abs(logs.sum()) - 1e-12))


def speedups(judged: pd.DataFrame) -> pd.DataFrame:
    """Return per family how many times as fast as uniform q it met the target: the
    geometric mean over paired seeds, Student's interval and Holm's p."""
    own = judged.assign(family=judged.arm.map(family))
    times = own.pivot(index="seed", columns="family", values="time_s")
    met = own.groupby("family").is_reached.all()
    rows = []
    for name in times.columns.drop(BASELINE):
        logs = np.log(times[BASELINE] / times[name]).dropna().to_numpy()
        row = {"family": name, "seeds": len(logs), "times": math.exp(logs.mean())}
        row["bound"] = not (met[name] and met[BASELINE])
        if len(logs) >= MIN_SEEDS:
            half = (
                quantile((1 + LEVEL) / 2, len(logs) - 1)
                * logs.std(ddof=1)
                / len(logs) ** 0.5
            )
            row |= {"from": math.exp(logs.mean() - half)}
            row |= {"to": math.exp(logs.mean() + half)}
            row |= {"p": sign_flip_p(logs)}
        rows.append(row)
    corrected = holm([row.get("p", math.nan) for row in rows])
    return pd.DataFrame(rows).assign(p=corrected)


def tuned(done: pd.DataFrame, fleet: str) -> pd.DataFrame:
    """Return per family the setting that tuning took, its geometric mean time and
    accuracy at the target, and the runs and CPU minutes of the family's sweep."""
    own = done[(done.stage == "tuning") & (done.fleet == fleet)]
    own = own.assign(family=own.arm.map(family))
    best, rows = chosen(done, fleet), []
    for name, sweep in own.groupby("family", sort=False):
        arm, rate = best.get(name, ("", ""))
        taken = sweep[(sweep.arm == arm) & (sweep.rate == rate)]
        rows.append(
            {
                "family": name,
                "arm": arm or "no setting yet on three seeds",
                "rate": rate,
                "time_s": float(np.exp(np.log(taken.time_s).mean())),
                "accuracy": taken.accuracy.mean(),
                "runs": len(sweep),
                "cpu_min": sweep.cpu_s.sum() / 60,
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    done = known()
    for fleet in dict.fromkeys(done.fleet):
        judged = done[(done.stage == "judging") & (done.fleet == fleet)]
        found = {"tuning": tuned(done, fleet)}
        if not judged.empty:
            found["judging"] = speedups(judged)
        for stage, table in found.items():
            print(f"\n{fleet}: {stage}\n")
            print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()

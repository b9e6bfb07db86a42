"""The tables of protocol.md from evidence.csv.

python results/policy/evidence_tables.py

Prints, for each fleet that has rows, what tuning chose and what its sweep cost, and
what judging found against uniform q.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from evidence import chosen, family, known

BASELINE = "uniform q"
LEAST_SEEDS = 5  # for an interval
LEVEL = 0.95


def student_quantile(num_free: int) -> float:
    """Return the two-sided 95 % quantile of Student's t, by its integral."""
    scale = math.exp(math.lgamma((num_free + 1) / 2) - math.lgamma(num_free / 2))
    x = np.linspace(0, 60, 600_001)
    density = (1 + x**2 / num_free) ** (-(num_free + 1) / 2)
    density *= scale / math.sqrt(num_free * math.pi)
    steps = np.diff(x) * (density[1:] + density[:-1]) / 2
    return float(x[1:][np.searchsorted(np.cumsum(steps), LEVEL / 2)])


def sign_flip_p(logs: np.ndarray) -> float:
    """Return how often a mean as far from zero comes of all choices of signs."""
    signs = np.array(list(itertools.product((1, -1), repeat=len(logs))))
    means = np.abs(signs @ logs)
    return float(np.mean(means >= abs(logs.sum()) - 1e-12))


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Return p values corrected for as many comparisons."""
    found, least = {}, 0.0
    for rank, name in enumerate(sorted(values, key=lambda one: values[one])):
        least = max(least, min(1.0, values[name] * (len(values) - rank)))
        found[name] = least
    return found


def speedups(judged: pd.DataFrame) -> pd.DataFrame:
    """Return per family how many times as fast as uniform q it met the target: the
    geometric mean over paired seeds, Student's interval and Holm's p."""
    own = judged.assign(family=judged.arm.map(family))
    times = own.pivot(index="seed", columns="family", values="time_s")
    met = own.groupby("family").is_reached.all()
    rows, values = [], {}
    for name in times.columns.drop(BASELINE):
        logs = np.log(times[BASELINE] / times[name]).dropna().to_numpy()
        row = {"family": name, "seeds": len(logs), "times": math.exp(logs.mean())}
        row["bound"] = not (met[name] and met[BASELINE])
        if len(logs) >= LEAST_SEEDS:
            half = student_quantile(len(logs) - 1) * logs.std(ddof=1) / len(logs) ** 0.5
            row |= {"from": math.exp(logs.mean() - half)}
            row |= {"to": math.exp(logs.mean() + half)}
            values[name] = sign_flip_p(logs)
        rows.append(row)
    corrected = holm(values)
    return pd.DataFrame([row | {"p": corrected.get(row["family"])} for row in rows])


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

"""Simulated against measured uploads over links that follow recorded traces.

    PYTHONPATH=. python tests/benchmarks/real_bytes/judge_recorded.py FOLDER_OF_TRACES

Reads recorded.csv beside results/real-bytes/README.md; writes recorded-errors.csv (a
row per upload of a case: the median of its repeats, their range, what netsim says
without them) and recorded-summary.csv there. An error is simulated over measured
seconds since the round's start, less one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd
from compare import error
from recorded import OUT, Case, simulated

CASE = list(Case._fields)


def medians(plays: pd.DataFrame) -> pd.DataFrame:
    """Return a row per upload: the median of its repeats, the least and the most."""
    ends = plays.groupby([*CASE, "client_id"]).end_s
    names = {"median": "measured_s", "min": "least_s", "max": "most_s"}
    return ends.agg(["count", *names]).rename(columns=names).reset_index()


def compared(plays: pd.DataFrame, traces: Path) -> pd.DataFrame:
    """Return the medians with what netsim says, and the errors of both."""
    table = medians(plays)
    for key, rows in table.groupby(CASE):
        case = Case(*key)
        with tempfile.TemporaryDirectory() as folder:
            _, run = simulated(case, (traces / case.trace).resolve(), Path(folder))
            end_ns = run.tasks.sort_values("client_id").end_ns
            table.loc[rows.index, "simulated_s"] = end_ns.to_numpy(float) / 1e9
    table["error"] = error(table.simulated_s, table.measured_s)
    off = pd.concat(
        [error(table.simulated_s, table[name]).abs() for name in ("least_s", "most_s")],
        axis=1,
    )
    return table.assign(worst_size=off.max(axis=1))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the sizes of errors by queue and trace: of uploads, and of rounds."""
    ends = table.groupby(CASE)[["simulated_s", "measured_s"]].max().reset_index()
    ends["round_size"] = error(ends.simulated_s, ends.measured_s).abs()
    keys = ["queue", "trace"]
    sizes = table.assign(size=table.error.abs()).groupby(keys)
    found = pd.DataFrame(
        {
            "uploads": sizes["size"].count(),
            "mean": sizes.error.mean(),
            "median_size": sizes["size"].median(),
            "p95_size": sizes["size"].quantile(0.95),
            "worst_size": sizes["size"].max(),
            "worst_of_one_play": sizes.worst_size.max(),
            "round_worst_size": ends.groupby(keys).round_size.max(),
        }
    )
    return found.reset_index()


def main() -> None:
    table = compared(pd.read_csv(OUT), Path(sys.argv[1]))
    table.round(5).to_csv(OUT.with_name("recorded-errors.csv"), index=False)
    found = summary(table)
    found.round(4).to_csv(OUT.with_name("recorded-summary.csv"), index=False)
    print(found.round(3).to_string(index=False))


if __name__ == "__main__":
    main()

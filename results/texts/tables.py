"""Tabulate and draw the results of the merges on texts.

pip install -c constraints.txt -e '.[test]'
python results/texts/tables.py STUDY [STUDY …] [--own STUDY]

Writes to this folder runs.csv, a row per finished run, differences.csv, each merge's
difference from FedIT on the same seed, and merges.svg; prints the tables of README.md.
``--own`` is the study that also evaluated the clients' own adapters: own.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from netsim import load_run
from netsim.runs.run import Run

HERE = Path(__file__).parent
NAMES = {"fedit": "FedIT", "flora-na": "FLoRA-NA", "thin-svd": "thin SVD"}
COLOURS = ("#0072B2", "#E69F00", "#009E73")  # safe for colour-blind eyes
METRICS = ("accuracy", "loss")
CELL = ["data", "alpha", "merge"]


def finished(folder: Path) -> Iterator[tuple[dict[str, object], Run]]:
    """Yield the finished runs of a study, each with the names of what it is."""
    for path in sorted((folder / "runs").glob("*/*")):
        alpha, data, merge = path.parent.name.split("+")
        run = load_run(path)
        if run.manifest.status == "complete":
            names = {"data": data, "alpha": alpha, "merge": merge}
            yield {**names, "seed": run.manifest.seed}, run


def row(names: dict[str, object], run: Run) -> dict[str, object]:
    """Return the final metrics, merge errors and traffic of a run."""
    evals = run.evals[run.evals.client_id.isna()]
    by_round = run.merges.groupby("round_id").relative_error.mean()
    tasks, rounds = run.tasks, len(run.rounds)
    return {
        **names,
        "accuracy_before": evals.accuracy.iloc[0],
        **{name: evals[name].iloc[-1] for name in METRICS},
        "error_first_round": by_round.iloc[0],
        "error_mean": by_round.mean(),
        "simulated_s": evals.time_ns.iloc[-1] / 1e9,
        "up_megabytes_per_round": tasks.upload_bits.sum() / 8e6 / rounds,
        "down_megabytes_per_client": tasks.download_bits.max() / 8e6,
    }


def differences(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each merge's final metrics less FedIT's of the same seed, with the 95 %
    interval of Student's t; "all" takes every alpha and seed as one draw."""
    keys = ["data", "alpha", "seed"]
    table = runs.pivot(index=keys, columns="merge", values=list(METRICS))
    rows = []
    for merge in ("flora-na", "thin-svd"):
        less = pd.DataFrame(
            {name: table[name][merge] - table[name]["fedit"] for name in METRICS}
        ).dropna()
        for data, of_data in less.groupby("data"):
            parts = list(of_data.groupby("alpha"))
            pooled = [("all", of_data)] if len(parts) > 1 else []
            for alpha, part in [*parts, *pooled]:
                names = {"data": data, "alpha": alpha, "merge": merge}
                rows.append({**names, "draws": len(part), **intervals(part)})
    return pd.DataFrame(rows)


def intervals(part: pd.DataFrame) -> dict[str, float]:
    """Return mean, low and high of each metric's difference."""
    found = {}
    for name in METRICS:
        values = part[name].to_numpy()
        mean = values.mean()
        half = np.nan
        if len(values) > 1:
            error = values.std(ddof=1) / np.sqrt(len(values))
            half = stats.t.ppf(0.975, len(values) - 1) * error
        found |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    return found


def picture(runs: pd.DataFrame, less: pd.DataFrame) -> alt.HConcatChart:
    """Return accuracy by skew, the merge errors, and the differences from FedIT."""
    shown = runs.assign(merge=runs["merge"].map(NAMES), where=place(runs))
    less = less.assign(merge=less["merge"].map(NAMES), where=place(less))
    order = sorted(set(shown["where"]))
    merges = list(NAMES.values())
    scale = alt.Scale(domain=merges, range=COLOURS)
    colour = alt.Color("merge", scale=scale, title="merge")
    down = alt.Y("where", title=None, sort=order)
    bare = alt.Y("where", title=None, sort=order, axis=alt.Axis(labels=False))
    lanes = alt.YOffset("merge", sort=merges)
    size = {"width": 190, "height": 34 * len(order)}
    points = alt.Chart(shown, **size).mark_point(filled=True, size=28)
    left = points.encode(
        alt.X("accuracy", title="test accuracy (GSM8K: of tokens)"), down, lanes, colour
    )
    title = "merge error in round 1 (same updates)"
    middle = points.encode(alt.X("error_first_round", title=title), bare, lanes, colour)
    base = alt.Chart(less[less.alpha != "all"], **size)
    title = "accuracy less FedIT's, 95 %"
    bars = base.mark_rule().encode(
        alt.X("accuracy_low", title=title), alt.X2("accuracy_high"), bare, lanes, colour
    )
    dots = base.mark_point(filled=True, size=36).encode(
        alt.X("accuracy", title=title), bare, lanes, colour
    )
    zero = alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(strokeDash=[4, 4])
    return left | middle | zero.encode(alt.X("x", title=title)) + bars + dots


def place(rows: pd.DataFrame) -> pd.Series:
    """Return data set and skew in words."""
    skew = rows.alpha.where(rows.alpha == "iid", "alpha " + rows.alpha)
    return rows.data + ", " + skew


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean and sample standard deviation over seeds of every cell."""
    cells = runs.groupby(CELL, sort=False)
    found = cells.size().rename("seeds").to_frame()
    for name in (*METRICS, "error_first_round", "error_mean", "simulated_s"):
        mean, spread = cells[name].mean(), cells[name].std()
        digits = 1 if name == "simulated_s" else 3
        pairs = zip(mean, spread, strict=True)
        found[name] = [f"{m:.{digits}f} ({s:.{digits}f})" for m, s in pairs]
    for name in ("up_megabytes_per_round", "down_megabytes_per_client"):
        found[name] = cells[name].mean().round(3)
    return found


def own(folder: Path) -> pd.DataFrame:
    """Return the accuracy of own and global adapters on clients' labels, per run."""
    rows = []
    for names, run in finished(folder):
        last = run.local_gap().iloc[-1]
        kept = ["num_clients", "accuracy_personal", "accuracy_global", "accuracy_gap"]
        rows.append({**names, **last[kept].to_dict()})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--own", type=Path)
    options = parser.parse_args()
    pd.set_option("display.width", 200, "display.max_columns", 20)
    runs = pd.DataFrame(row(*one) for path in options.studies for one in finished(path))
    less = differences(runs)
    runs.round(5).to_csv(HERE / "runs.csv", index=False, lineterminator="\n")
    less.round(5).to_csv(HERE / "differences.csv", index=False, lineterminator="\n")
    picture(runs, less).save(HERE / "merges.svg")
    print(summary(runs).to_string(), "\n")
    print(less.round(4).to_string(index=False), "\n")
    if options.own:
        found = own(options.own)
        found.round(5).to_csv(HERE / "own.csv", index=False, lineterminator="\n")
        columns = ["accuracy_personal", "accuracy_global", "accuracy_gap"]
        print(found.groupby(CELL)[columns].agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main()

"""Draw and tabulate what several runs reach: one metric over rounds and over time.

pip install -c constraints.txt -e '.[report]'
python results/curves.py OUT METRIC RUN [RUN …] [--reference CSV …]

Writes OUT.csv, one row per evaluation, and OUT.svg; prints the first and last row of
each run as a markdown table. A reference is a CSV with ``seed``, ``step`` and the
metric: the means are drawn as horizontal lines.
"""

from __future__ import annotations

import argparse

import altair as alt
import pandas as pd

from netsim import load_run

METRICS = ("accuracy", "loss", "perplexity", "exact_match")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")  # safe for colour-blind eyes


def evaluations(folder: str) -> pd.DataFrame:
    """Return one row per evaluation of a run, time in simulated seconds."""
    run = load_run(folder)
    evals = run.evals
    known = [name for name in METRICS if name in evals and evals[name].notna().any()]
    found = evals[["round_id", *known]].copy()
    found.insert(0, "seed", run.manifest.seed)
    found.insert(2, "simulated_s", (evals.time_ns / 1e9).round(3))
    return found


def picture(
    curves: pd.DataFrame, metric: str, references: pd.DataFrame
) -> alt.HConcatChart:
    """Return the metric over rounds, and over simulated time."""
    curves = curves.assign(seed=curves.seed.astype(str))
    seeds = sorted(curves.seed.unique())
    lines = [
        alt.Chart(curves, width=330, height=230)
        .mark_line(point=True)
        .encode(
            alt.X(column, title=title),
            alt.Y(metric, title=f"test {metric}", scale=alt.Scale(zero=False)),
            alt.Color("seed", scale=alt.Scale(domain=seeds, range=COLOURS)),
        )
        for column, title in (
            ("round_id", "round"),
            ("simulated_s", "simulated time (s)"),
        )
    ]
    if len(references):
        rules = alt.Chart(references)
        marks = rules.mark_rule(strokeDash=[5, 4], color="#555555").encode(
            alt.Y(metric)
        )
        words = rules.mark_text(align="left", dy=-6, color="#555555").encode(
            alt.Y(metric), x=alt.value(4), text="name"
        )
        lines = [line + marks + words for line in lines]
    return alt.hconcat(*lines)


def means(tables: list[str], metric: str) -> pd.DataFrame:
    """Return the mean of the metric at each number of steps, named."""
    if not tables:
        return pd.DataFrame()
    rows = pd.concat(pd.read_csv(table) for table in tables)
    found = rows.groupby("step")[metric].mean().reset_index()
    found["name"] = "centralised, " + found.step.astype(str) + " steps"
    return found


def markdown(last: pd.DataFrame) -> str:
    """Return a table with a row per run."""
    rows = [list(last.columns), ["---"] * len(last.columns), *last.values.tolist()]
    cells = (
        [f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in rows
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("metric", choices=METRICS)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--reference", nargs="+", default=[])
    options = parser.parse_args()
    curves = pd.concat(evaluations(folder) for folder in options.runs)
    curves.to_csv(f"{options.out}.csv", index=False, lineterminator="\n")
    references = means(options.reference, options.metric)
    picture(curves, options.metric, references).save(f"{options.out}.svg")
    ends = curves.astype({"seed": object, "round_id": object}).groupby("seed")
    print(markdown(pd.concat([ends.head(1), ends.tail(1)]).sort_values("seed")))


if __name__ == "__main__":
    main()

"""Draw and tabulate what tests/benchmarks/network.py measured: how cost grows.

pip install -c constraints.txt -e '.[report]'
python results/benchmarks/network_picture.py NETWORK.csv NETWORK.svg
"""

from __future__ import annotations

import sys

import altair as alt
import pandas as pd

SERIES = {  # what grows, and the column that counts it
    "population": ("clients of which 100 take part", "num_clients"),
    "drawn": ("drawn per round, of 100,000", "num_drawn"),
    "concurrency": ("uploads at once on one band", "num_drawn"),
}
COSTS = {
    "round_cpu_ms": ("CPU ms per round", "log"),
    "events_per_cpu_s": ("events per CPU second", "linear"),
    "peak_mb": ("peak memory, MB", "linear"),
}
HEADINGS = (
    "start, CPU s",
    "round, CPU ms",
    "task, CPU µs",
    "events per CPU s",
    "peak MB",
    "trace bytes per task",
)


def curve(rows: pd.DataFrame, series: str, cost: str) -> alt.Chart:
    """Return one cost against what grows in one series."""
    title, column = SERIES[series]
    label, scale = COSTS[cost]
    own = rows[rows.series == series]
    axis = alt.Axis(values=own[column].tolist(), format="~s")
    return (
        alt.Chart(own, width=190, height=130)
        .mark_line(point=True, color="#0072B2")
        .encode(
            alt.X(column, title=title, scale=alt.Scale(type="log"), axis=axis),
            alt.Y(cost, title=label, scale=alt.Scale(type=scale)),
        )
    )


def picture(rows: pd.DataFrame) -> alt.VConcatChart:
    """Return every cost, a row each, over every series, a column each."""
    return alt.vconcat(
        *(
            alt.hconcat(*(curve(rows, series, cost) for series in SERIES))
            for cost in COSTS
        )
    )


def table(rows: pd.DataFrame, series: str) -> str:
    """Return one series as a markdown table."""
    title, column = SERIES[series]
    lines = [f"| {title} | {' | '.join(HEADINGS)} |", "|---:" * 7 + "|"]
    for row in rows[rows.series == series].itertuples():
        lines.append(
            f"| {getattr(row, column):,} | {row.start_cpu_s:.2f} "
            f"| {row.round_cpu_ms:,.3g} | {row.task_cpu_us:.0f} "
            f"| {row.events_per_cpu_s:,.0f} | {row.peak_mb:.0f} "
            f"| {row.happened_bytes_per_task:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    found = pd.read_csv(sys.argv[1])
    picture(found).save(sys.argv[2])
    print("\n\n".join(table(found, series) for series in SERIES))

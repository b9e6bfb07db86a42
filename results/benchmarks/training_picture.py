"""Draw what tests/benchmarks/training.py measured, as ratios to the bare PEFT loop.

pip install -c constraints.txt -e '.[report]'
python results/benchmarks/training_picture.py TRAINING.csv TRAINING.svg
"""

from __future__ import annotations

import sys

import altair as alt
import pandas as pd

WAYS = {
    "ours": "#0072B2",
    "whole batches": "#56B4E9",
    "one per pass": "#E69F00",
    "padded floor": "#999999",
}


def picture(rows: pd.DataFrame) -> alt.LayerChart:
    """Return the median ratio of each way, with its lowest and highest."""
    rows = rows[rows.way != "floor"]
    base = alt.Chart(rows, width=520).encode(
        alt.Y("case", sort=list(rows.case.unique()), title=None),
        alt.YOffset("way", sort=list(WAYS)),
        alt.Color(
            "way",
            sort=list(WAYS),
            scale=alt.Scale(domain=list(WAYS), range=list(WAYS.values())),
            legend=alt.Legend(orient="top", title=None),
        ),
    )
    title = "CPU time, as a share of a bare PEFT loop's (log scale)"
    scale = alt.Scale(type="log")
    points = base.mark_point(filled=True, size=60).encode(
        alt.X("median(ratio)", title=title, scale=scale)
    )
    spread = base.mark_rule().encode(alt.X("min(ratio)"), alt.X2("max(ratio)"))
    floor = alt.Chart(pd.DataFrame({"ratio": [1.0]})).mark_rule(strokeDash=[4, 4])
    return spread + points + floor.encode(alt.X("ratio"))


if __name__ == "__main__":
    picture(pd.read_csv(sys.argv[1])).save(sys.argv[2])

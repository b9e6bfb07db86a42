"""Draw predicted against observed steps of the catalogue's devices.

pip install -c constraints.txt -e '.[report]'
python results/validation/picture.py results/validation/devices.svg
"""

from __future__ import annotations

import sys

import altair as alt
import pandas as pd

from netsim.devices.validation import comparisons

KINDS = {
    "fitted, left out": "#0072B2",
    "fitted, another program": "#E69F00",
    "assumed": "#D55E00",
}


def picture(rows: pd.DataFrame) -> alt.LayerChart:
    """Return one point per setting, and the line on which both are equal."""
    ends = [float(rows.observed_s.min()), float(rows.observed_s.max())]
    scale = alt.Scale(type="log")
    points = alt.Chart(rows, width=480, height=480).mark_point(filled=True, size=30)
    equal = alt.Chart(pd.DataFrame({"observed_s": ends, "predicted_s": ends}))
    x, y = (
        alt.X("observed_s", title="observed step, s (log scale)", scale=scale),
        alt.Y("predicted_s", title="predicted step, s (log scale)", scale=scale),
    )
    colour = alt.Color(
        "kind",
        scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())),
        legend=alt.Legend(orient="top", title=None),
    )
    return equal.mark_line(color="#999999").encode(x, y) + points.encode(x, y, colour)


def kind(row: pd.Series) -> str:
    """Return which of ``KINDS`` a comparison is."""
    if row.basis == "assumed":
        return "assumed"
    return "fitted, left out" if row.role == "left out" else "fitted, another program"


if __name__ == "__main__":
    table = pd.DataFrame(comparisons())
    table["kind"] = table.apply(kind, axis=1)
    picture(table).save(sys.argv[1])

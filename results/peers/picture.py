"""Draw the cost of a local step and each clock's time of a round: peers.svg.

python results/peers/picture.py
"""

from __future__ import annotations

from pathlib import Path

import altair as alt
import pandas as pd

HERE = Path(__file__).parent
NAMES = {"flower": "Flower", "pfl": "pfl-research", "appfl": "APPFL", "flgo": "FLGo"}
OURS, OTHERS = "#0072B2", "#999999"


def coloured(field: str) -> alt.Color:
    """Return our bars in one colour and all others in another."""
    is_ours = f"indexof(datum.{field}, 'netsim') == 0"
    return alt.condition(is_ours, alt.value(OURS), alt.value(OTHERS))


def bars(rows: pd.DataFrame, field: str, value: str, title: str) -> alt.LayerChart:
    """Return the medians as bars with every single run on them."""
    order = list(dict.fromkeys(rows[field]))
    y = alt.Y(f"{field}:N", sort=order, title=None)
    base = alt.Chart(rows, width=250, height=150, title=title)
    bar = base.mark_bar().encode(
        y, alt.X(f"median({value})", title=None), color=coloured(field)
    )
    return bar + base.mark_point(color="black", size=18, filled=True).encode(y, x=value)


def main() -> None:
    steps = pd.read_csv(HERE / "throughput.csv").replace({"way": NAMES})
    steps = steps[steps.way != "bare, summed backwards"]
    clocks = pd.read_csv(HERE / "clocks.csv").replace({"clock": NAMES})
    apart = clocks[clocks.fleet == "ten, 0.2 s apart"]
    chart = alt.hconcat(
        bars(steps, "way", "cpu_ms_per_step", "CPU ms of a local step"),
        bars(steps, "way", "peak_mib", "peak memory, MiB"),
        bars(apart, "clock", "last_end_s", "seconds of a round of ten, by clock"),
    )
    chart.save(HERE / "peers.svg")


if __name__ == "__main__":
    main()

"""How full the bands were over time."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netsim.report import marks, words
from netsim.report.page import Chart, Column, Key, Section, Table
from netsim.report.run_facts import end_s
from netsim.report.run_offered import offered_charts
from netsim.runs import questions
from netsim.runs.run import Run

NUM_BINS = 160
MAX_CELLS = 40
KEYS = (Key("uplink", marks.PALETTE[2], "line"), Key("downlink", "var(--c6)", "line"))
NAMES = {"up": "uplink", "down": "downlink"}


def band_section(run: Run) -> Section | None:
    """Return how full each cell's bands were, over time and in all."""
    if run.bands.empty or run.rounds.empty:
        return None
    unit = words.time_unit(end_s(run) * 1e9)
    edges_ns = np.linspace(0, end_s(run) * 1e9, NUM_BINS + 1)
    rows = _use(run.bands, edges_ns).assign(
        time=lambda frame: frame["time_ns"] / unit.size_ns
    )
    rows["direction"] = rows["direction"].map(NAMES)
    num_cells = rows["cell_id"].nunique()
    chart = _lines(rows, unit) if num_cells == 1 else _heat(rows, unit)
    text = [
        "The share of the band that carries bits, on average over each "
        f"{words.duration(end_s(run) / NUM_BINS)}. Where it is far below 100 %, a "
        "wider band would not help: clients are computing, or none is drawn."
    ]
    if num_cells > MAX_CELLS:
        text.append(f"The {MAX_CELLS} busiest of {num_cells} cells are shown.")
    offered = offered_charts(run, edges_ns, unit)
    if offered:
        text.append(
            "A measured band follows a trace; below is the rate that it offers to all "
            "senders together. It explains slow rounds that no client is to blame for."
        )
    blocks: list[Chart | Table] = [chart, *offered, _table(run)]
    return Section("How full the bands were", text, blocks)


def binned_use(bands: pd.DataFrame, edges_ns: NDArray[np.float64]) -> pd.Series[float]:
    """Return the share of one band in use between each two moments, on average."""
    length_ns = (bands["end_ns"] - bands["start_ns"]).to_numpy(dtype=np.float64)
    used_hz = bands["allocated_uhz"].to_numpy(dtype=np.float64) / questions.UHZ_PER_HZ
    used_ns = np.cumsum(length_ns * used_hz / bands["band_hz"].to_numpy())
    moments = np.empty(2 * len(bands))
    moments[::2], moments[1::2] = bands["start_ns"], bands["end_ns"]
    totals = np.empty(2 * len(bands))
    totals[::2], totals[1::2] = np.concatenate([[0.0], used_ns[:-1]]), used_ns
    at_edges = np.interp(edges_ns, moments, totals)
    return pd.Series(np.diff(at_edges) / np.diff(edges_ns))


def _use(bands: pd.DataFrame, edges_ns: NDArray[np.float64]) -> pd.DataFrame:
    """Return the share in use per cell, direction and bin, the busiest cells first."""
    busy = bands["num_live"] * (bands["end_ns"] - bands["start_ns"])
    cells = busy.groupby(bands["cell_id"]).sum().nlargest(MAX_CELLS).index
    frames = []
    kept = bands[bands["cell_id"].isin(cells)]
    for _, rows in kept.groupby(["cell_id", "direction"], observed=True):
        use = binned_use(rows.sort_values("start_ns"), edges_ns)
        frame = pd.DataFrame({"time_ns": edges_ns[:-1], "use": use})
        frame["cell_id"] = int(rows["cell_id"].iloc[0])
        frames.append(frame.assign(direction=str(rows["direction"].iloc[0])))
    return pd.concat(frames, ignore_index=True)


def _tooltip(unit: words.TimeUnit) -> list[alt.Tooltip]:
    return [
        marks.tip("use", "in use", ".1%"),
        marks.tip_text("direction", "band"),
        marks.tip("cell_id", "cell", "d"),
        marks.tip("time", f"from ({unit.name})"),
    ]


def _lines(rows: pd.DataFrame, unit: words.TimeUnit) -> Chart:
    keys = [key for key in KEYS if key.label in set(rows["direction"])]
    shape = marks.source("bands").encode(
        marks.time_axis(unit),
        alt.Y(
            "use:Q",
            title="band in use",
            stack=None,
            axis=alt.Axis(format="~%", tickCount=5),
            scale=alt.Scale(domain=[0, 1]),
        ),
        marks.colours("direction", keys),
        tooltip=_tooltip(unit),
    )
    area = shape.mark_area(interpolate="step-after", opacity=0.18, line=False)
    line = shape.mark_line(interpolate="step-after", strokeWidth=1.5)
    points = shape.mark_point(size=80, opacity=0, filled=True)
    return Chart(
        name="bands",
        title="Band in use",
        is_wide=True,
        spec=marks.spec(alt.layer(area, line, points), "band in use over time"),
        frames={"bands": rows.drop(columns="time_ns")},
        legend=keys,
    )


def _heat(rows: pd.DataFrame, unit: words.TimeUnit) -> Chart:
    """Return a row per cell and band, the darker the emptier."""
    step = float(rows["time"].iloc[1] - rows["time"].iloc[0])
    rows = rows.assign(until=rows["time"] + step)
    rows["who"] = "cell " + rows["cell_id"].astype("str") + " " + rows["direction"]
    order = list(dict.fromkeys(rows.sort_values(["direction", "cell_id"])["who"]))
    chart = (
        marks.source("bands")
        .mark_rect()
        .encode(
            marks.time_axis(unit),
            alt.X2("until:Q"),
            alt.Y("who:N", title=None, sort=order),
            alt.Color(
                "use:Q",
                scale=alt.Scale(scheme=marks.HEAT, domain=[0, 1]),
                legend=alt.Legend(title="in use", orient="bottom", format="~%"),
            ),
            tooltip=_tooltip(unit),
        )
    )
    return Chart(
        name="bands",
        title="Band in use, by cell",
        is_wide=True,
        spec=marks.spec(chart, "band in use by cell", height=None),
        row_field="who",
        row_px=17,
        frames={"bands": rows.drop(columns="time_ns")},
    )


def _table(run: Run) -> Table:
    found = questions.band_use(run).reset_index()
    found["direction"] = found["direction"].astype("str").map(NAMES)
    columns = [
        Column("cell_id", "cell"),
        Column("direction", "band"),
        Column("busy_share", "time with transfers", ".1%"),
        Column("used_share", "band in use", ".1%"),
        Column("mean_live", "senders at a time", ".2f"),
    ]
    return Table("band-table", "Over the whole run", found, columns)

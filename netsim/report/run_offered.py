"""What the traces of measured bands offered, over time and in each round."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netsim.report import marks, words
from netsim.report.page import Chart
from netsim.report.sampling import binned
from netsim.runs.run import Run

MAX_BARS = 100
MAX_BANDS = 12
Floats = NDArray[np.float64]


def offered_bps(capacities: pd.DataFrame, band_hz: float, moments_ns: Floats) -> Floats:
    """Return the mean rate in bit/s that a measured band's trace offers between each
    two moments."""
    length_ns = (capacities["end_ns"] - capacities["start_ns"]).to_numpy(float)
    efficiency = capacities["spectral_efficiency_nbit_s_hz"].to_numpy(float) / 1e9
    ends_ns = np.concatenate([[0.0], capacities["end_ns"].to_numpy(float)])
    reached = np.concatenate([[0.0], np.cumsum(length_ns * efficiency)])
    num_periods, within_ns = np.divmod(moments_ns, ends_ns[-1])
    at = num_periods * reached[-1] + np.interp(within_ns, ends_ns, reached)
    rates: Floats = np.diff(at) / np.maximum(np.diff(moments_ns), 1.0) * band_hz
    return rates


def offered_charts(run: Run, edges_ns: Floats, unit: words.TimeUnit) -> list[Chart]:
    """Return the offered rate over time and by round; nothing without a trace."""
    traces = _traces(run)
    if not traces:
        return []
    first = binned(run.rounds["round_id"], MAX_BARS).to_numpy()
    spans_ns = run.rounds[["start_ns", "end_ns"]].to_numpy(float).ravel()
    over_time, by_round = [], []
    for name, capacities, band_hz in traces:
        rates = offered_bps(capacities, band_hz, edges_ns) / 1e6
        rows = pd.DataFrame({"time": edges_ns[:-1] / unit.size_ns, "mbps": rates})
        over_time.append(rows.assign(band=name))
        rates = offered_bps(capacities, band_hz, spans_ns)[::2] / 1e6
        means = pd.Series(rates).groupby(first).mean().rename_axis("round_id")
        by_round.append(means.rename("mbps").reset_index().assign(band=name))
    rounds = alt.X("round_id:Q", title="round", axis=alt.Axis(tickMinStep=1))
    return [
        _chart(
            "offered", "Rate that the trace offers", marks.time_axis(unit), over_time
        ),
        _chart("offered-rounds", "The same, in each round", rounds, by_round),
    ]


def _traces(run: Run) -> list[tuple[str, pd.DataFrame, float]]:
    """Return the name, the trace and the width of each measured band in use."""
    found = []
    names = {"up": "uplink", "down": "downlink"}
    several = run.capacities["cell_id"].nunique() > 1
    groups = run.capacities.groupby(["cell_id", "direction"], observed=True)
    for (cell_id, direction), rows in list(groups)[:MAX_BANDS]:
        own = run.bands.query("cell_id == @cell_id and direction == @direction")
        if not own.empty:
            name = f"cell {cell_id} " * several + names[str(direction)]
            band_hz = float(own["band_hz"].iloc[0])
            found.append((name, rows.sort_values("start_ns"), band_hz))
    return found


def _chart(name: str, title: str, x: alt.X, rows: list[pd.DataFrame]) -> Chart:
    table = pd.concat(rows, ignore_index=True)
    keys = marks.palette_keys(list(dict.fromkeys(table["band"])))
    line = marks.source(name).mark_line(interpolate="step-after", strokeWidth=1.5)
    chart = line.encode(
        x,
        marks.number("mbps", "Mbit/s", zero=True),
        marks.colours("band", keys),
        tooltip=[marks.tip_text("band", "band"), marks.tip("mbps", "Mbit/s", ".3g")],
    )
    return Chart(
        name=name,
        title=title,
        is_wide=True,
        spec=marks.spec(chart, title.lower(), height=160),
        frames={name: table},
        legend=keys,
    )

"""Where the clients and the base stations are."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from netsim.report import marks
from netsim.report.page import Chart, Section
from netsim.report.sampling import thinned
from netsim.runs.run import Run

MAX_DOTS = 1500
MARGIN = 1.06  # of the farthest client's place
STATION = "the base station", "a base station"


def map_section(run: Run) -> Section | None:
    """Return where the clients and the base stations are."""
    clients = run.clients
    if clients.empty or not clients["distance_m"].gt(0).any():
        return None
    frame = _dots(run)
    stations = run.cells if len(run.cells) else base_stations(clients)
    stations = stations[["cell_id", "x_m", "y_m"]]
    text = ["Each dot is a client."]
    if len(stations):
        text = [f"Each dot is a client, a triangle {STATION[len(stations) > 1]}."]
    if len(frame) < len(clients):
        text.append(f"{len(frame):,} of {len(clients):,} clients are shown.")
    return Section("Where the clients are", text, [_map_chart(frame, stations)])


def _dots(run: Run) -> pd.DataFrame:
    clients = run.clients.set_index("client_id")
    merged = run.tasks[run.tasks["merged_round_id"].notna()]["client_id"].value_counts()
    frame = clients.assign(merged=merged).fillna({"merged": 0}).reset_index()
    columns = ["client_id", "cell_id", "device", "x_m", "y_m", "distance_m"]
    columns += ["mean_snr_db", "num_samples", "merged"]
    return thinned(frame[columns].astype({"device": "str"}), MAX_DOTS)


def base_stations(clients: pd.DataFrame) -> pd.DataFrame:
    """Return where each cell's base station is, from its clients' places and distances:
    the differences of the circles around three clients or more are linear."""
    rows = []
    for cell_id, own in clients.groupby("cell_id"):
        x, y, away = (own[name].to_numpy() for name in ("x_m", "y_m", "distance_m"))
        left = 2 * np.column_stack([x - x.mean(), y - y.mean()])
        squares = x**2 + y**2 - away**2
        if len(own) < 3 or np.linalg.matrix_rank(left) < 2:
            continue
        place = np.linalg.lstsq(left, squares - squares.mean(), rcond=None)[0]
        missed = np.abs(np.hypot(x - place[0], y - place[1]) - away).max()
        if missed <= 1.0:  # metres; else distances are not those of the plane
            rows.append({"cell_id": cell_id, "x_m": place[0], "y_m": place[1]})
    return pd.DataFrame(rows, columns=["cell_id", "x_m", "y_m"])


def _map_chart(frame: pd.DataFrame, stations: pd.DataFrame) -> Chart:
    both = pd.concat([frame[["x_m", "y_m"]], stations[["x_m", "y_m"]]])
    x, y = _axes(both)
    colour = alt.Color(
        "mean_snr_db:Q",
        scale=alt.Scale(scheme=marks.HEAT),
        legend=alt.Legend(title="signal to noise, uplink (dB)", orient="bottom"),
    )
    dots = marks.source("map").mark_circle(
        size=70, opacity=0.9, stroke=marks.INK, strokeWidth=0.4
    )
    towers = marks.source("stations").mark_point(
        shape="triangle-up", size=130, filled=True, color=marks.PALETTE[1]
    )
    whose = [marks.tip("cell_id", "base station of cell", "d")]
    chart = alt.layer(
        dots.encode(x, y, colour, tooltip=_tooltip()),
        towers.encode(x, y, tooltip=whose),
    )
    return Chart(
        name="map",
        title="The cell from above" if len(stations) < 2 else "The cells from above",
        spec=marks.spec(chart, "clients and base stations"),
        frames={"map": frame, "stations": stations},
        is_square=True,
    )


def _axes(places: pd.DataFrame) -> tuple[alt.X, alt.Y]:
    """Return axes on which a metre is as long across as up."""
    middle = (places.max() + places.min()) / 2
    reach = max(float((places.max() - places.min()).max()) / 2 * MARGIN, 1.0)

    def scale(name: str) -> alt.Scale:
        centre = float(middle[name])
        return alt.Scale(domain=[centre - reach, centre + reach], nice=False)

    ticks = alt.Axis(tickCount=5)
    return (
        alt.X("x_m:Q", title="x (m)", scale=scale("x_m"), axis=ticks),
        alt.Y("y_m:Q", title="y (m)", scale=scale("y_m"), axis=ticks),
    )


def _tooltip() -> list[alt.Tooltip]:
    return [
        marks.tip("client_id", "client", "d"),
        marks.tip_text("device", "device"),
        marks.tip("cell_id", "cell", "d"),
        marks.tip("distance_m", "metres away", ".0f"),
        marks.tip("mean_snr_db", "signal to noise (dB)", ".1f"),
        marks.tip("num_samples", "samples", ",d"),
        marks.tip("merged", "times merged", ",d"),
    ]

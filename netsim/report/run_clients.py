"""Who took part and how fairly, what it cost them, and where they are."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from netsim import questions
from netsim.report import marks, words
from netsim.report.page import Chart, Column, Key, Section, Table
from netsim.report.run_facts import end_s
from netsim.report.sampling import thinned
from netsim.runs import Run

MAX_DOTS = 1500
MAX_HISTOGRAM = 40


def fairness_section(run: Run) -> Section | None:
    """Return who was merged how often, and how well the result serves each."""
    if run.clients.empty or run.tasks.empty:
        return None
    found = questions.participation(run)
    jain = questions.jain_index(found["num_merged"])
    never = int((found["num_merged"] == 0).sum())
    text = [
        f"Each of {words.counted(len(found), 'client')} was merged "
        f"{found['num_merged'].mean():.3g} times in the mean"
        + (f"; {never:,} never were." if never else ", and each at least once."),
        f"Jain's index of fairness is {jain:.3f}: 1 if all are merged equally often, "
        f"{1 / len(found):.2g} if one has it all.",
    ]
    blocks: list[Chart | Table] = [_histogram(found), _influence(found)]
    spread = _local_chart(run)
    if spread is not None:
        blocks.append(spread)
        text.append(
            "Some clients were examined on their own data: the band holds the middle "
            "80 % of them, the line is the median."
        )
    return Section("Who took part", text, [*blocks, _energy_table(run)])


def _histogram(found: pd.DataFrame) -> Chart:
    """Return how many clients were merged how often."""
    times = found["num_merged"]
    size = int(times.max()) // MAX_HISTOGRAM + 1
    counts = (times // size * size).value_counts()
    every = range(int(counts.index.min()), int(counts.index.max()) + 1, size)
    counts = counts.reindex(every, fill_value=0)
    frame = counts.rename_axis("times").rename("clients").reset_index()
    frame["until"] = frame["times"] + size
    frame["label"] = [
        f"{t}" if size == 1 else f"{t} to {t + size - 1}" for t in frame["times"]
    ]
    chart = (
        marks.source("merged")
        .mark_bar(color=marks.PALETTE[0])
        .encode(
            alt.X(
                "times:O" if size == 1 else "times:Q",
                title="times merged",
                axis=alt.Axis(labelAngle=0, labelOverlap=True),
            ),
            marks.number("clients", "clients", form="d", zero=True),
            tooltip=[
                marks.tip_text("label", "times merged"),
                marks.tip("clients", "clients", ",d"),
            ],
        )
    )
    if size > 1:
        chart = chart.encode(alt.X2("until:Q"))
    return Chart(
        name="merged",
        title="How often clients were merged",
        spec=marks.spec(chart, "clients by times merged"),
        frames={"merged": frame},
    )


def _influence(found: pd.DataFrame) -> Chart:
    """Return each client's part in all merges beside its part of the data."""
    frame = thinned(found.reset_index().sort_values("data_weight"), MAX_DOTS)
    frame = frame.astype({"device": "str"})
    most = float(max(frame["data_weight"].max(), frame["influence"].max()))
    equal = alt.Chart(
        alt.Data(values=[{"a": 0, "b": 0}, {"a": most, "b": most}])
    ).mark_line(color=marks.QUIET, strokeDash=[4, 4])
    dots = (
        marks.source("influence")
        .mark_circle(size=60, color=marks.PALETTE[1], opacity=0.75)
        .encode(
            alt.X(
                "data_weight:Q",
                title="share of the data",
                axis=alt.Axis(format="~%", tickCount=5),
            ),
            alt.Y(
                "influence:Q",
                title="share of all merges",
                axis=alt.Axis(format="~%", tickCount=5),
            ),
            tooltip=[
                marks.tip("client_id", "client", "d"),
                marks.tip_text("device", "device"),
                marks.tip("num_merged", "times merged", "d"),
                marks.tip("data_weight", "share of data", ".2%"),
                marks.tip("influence", "share of merges", ".2%"),
            ],
        )
    )
    return Chart(
        name="influence",
        title="Influence beside data",
        spec=marks.spec(
            alt.layer(equal.encode(x="a:Q", y="b:Q"), dots), "influence beside data"
        ),
        frames={"influence": frame},
        note="On the dashed line a client counts as much as its data; above, more.",
    )


def _local_chart(run: Run) -> Chart | None:
    """Return the spread of accuracy over examined clients, own and common adapter."""
    names = {"local-personal": "own adapter", "local-global": "common adapter"}
    evals = run.evals[run.evals["client_id"].notna()]
    evals = evals[evals["split"].isin(list(names)) & evals["accuracy"].notna()]
    if evals.empty:
        return None
    unit = words.time_unit(end_s(run) * 1e9)
    evals = evals.assign(
        time=evals["time_ns"] / unit.size_ns,
        whose=evals["split"].astype("str").map(names),
    )
    by = evals.groupby(["whose", "time"], observed=True)["accuracy"]
    shares = {"low": 0.1, "mid": 0.5, "high": 0.9}
    columns = {name: by.quantile(share) for name, share in shares.items()}
    columns |= {"clients": by.size(), "worst": by.min()}
    frame = pd.DataFrame(columns).reset_index()
    keys = [
        Key("common adapter", marks.PALETTE[0], "line"),
        Key("own adapter", marks.PALETTE[1], "line"),
    ]
    shape = marks.source("local").encode(
        marks.time_axis(unit),
        marks.colours("whose", keys),
        tooltip=[
            marks.tip_text("whose", "adapter"),
            marks.tip("mid", "median"),
            marks.tip("low", "10 % are below"),
            marks.tip("high", "10 % are above"),
            marks.tip("worst", "worst client"),
            marks.tip("clients", "clients examined", "d"),
            marks.tip("time", unit.title),
        ],
    )
    band = shape.mark_area(opacity=0.18).encode(
        marks.number("low", "accuracy on own data"), alt.Y2("high:Q")
    )
    line = shape.mark_line(point=True).encode(
        marks.number("mid", "accuracy on own data")
    )
    return Chart(
        name="local",
        title="Accuracy on clients' own data",
        spec=marks.spec(alt.layer(band, line), "accuracy on clients' own data"),
        frames={"local": frame},
        legend=keys,
    )


def _energy_table(run: Run) -> Table:
    found = questions.energy(run).reset_index()
    found = found[found["num_clients"] > 0]
    for part in ("compute", "transmit", "idle"):
        found[f"{part}_share"] = found[f"{part}_energy_j"] / found["total_j"]
    columns = [
        Column("device", "device"),
        Column("num_clients", "clients"),
        Column("num_tasks", "updates"),
        Column("task_j", "joules per update", ".3g"),
        Column("compute_share", "computing", ".0%"),
        Column("transmit_share", "sending", ".0%"),
        Column("idle_share", "waiting", ".0%"),
    ]
    return Table("energy", "Energy by device", found, columns)


def map_section(run: Run) -> Section | None:
    """Return where the clients and the base stations are."""
    clients = run.clients
    if clients.empty or not clients["distance_m"].gt(0).any():
        return None
    frame = _dots(run)
    stations = base_stations(clients)
    text = ["Each dot is a client."]
    if len(stations):
        text = [f"Each dot is a client, a triangle {STATION[len(stations) > 1]}."]
    if len(frame) < len(clients):
        text.append(f"{len(frame):,} of {len(clients):,} clients are shown.")
    return Section("Where the clients are", text, [_map_chart(frame, stations)])


STATION = "the base station", "a base station"


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
    middle = (both.max() + both.min()) / 2
    reach = max(float((both.max() - both.min()).max()) / 2 * 1.06, 1.0)

    def axis(name: str) -> dict[str, object]:
        centre = float(middle[name])
        scale = alt.Scale(domain=[centre - reach, centre + reach], nice=False)
        return {"shorthand": f"{name}:Q", "title": f"{name[0]} (m)", "scale": scale}

    ticks = alt.Axis(tickCount=5)
    dots = (
        marks.source("map")
        .mark_circle(size=70, opacity=0.9, stroke=marks.INK, strokeWidth=0.4)
        .encode(
            alt.X(**axis("x_m"), axis=ticks),
            alt.Y(**axis("y_m"), axis=ticks),
            alt.Color(
                "mean_snr_db:Q",
                scale=alt.Scale(scheme=marks.HEAT),
                legend=alt.Legend(
                    title="signal to noise, uplink (dB)", orient="bottom"
                ),
            ),
            tooltip=[
                marks.tip("client_id", "client", "d"),
                marks.tip_text("device", "device"),
                marks.tip("cell_id", "cell", "d"),
                marks.tip("distance_m", "metres away", ".0f"),
                marks.tip("mean_snr_db", "signal to noise (dB)", ".1f"),
                marks.tip("num_samples", "samples", ",d"),
                marks.tip("merged", "times merged", ",d"),
            ],
        )
    )
    towers = (
        marks.source("stations")
        .mark_point(shape="triangle-up", size=130, filled=True, color=marks.PALETTE[1])
        .encode(
            alt.X(**axis("x_m")),
            alt.Y(**axis("y_m")),
            tooltip=[marks.tip("cell_id", "base station of cell", "d")],
        )
    )
    return Chart(
        name="map",
        title="The cell from above" if len(stations) < 2 else "The cells from above",
        spec=marks.spec(alt.layer(dots, towers), "clients and base stations"),
        frames={"map": frame, "stations": stations},
        is_square=True,
    )

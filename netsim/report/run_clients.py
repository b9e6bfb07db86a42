"""Participation, fairness, energy and places of the clients."""

from __future__ import annotations

import altair as alt
import pandas as pd

from netsim.report import marks, words
from netsim.report.page import Chart, Column, Key, Section, Table
from netsim.report.run_facts import end_s
from netsim.report.sampling import thinned
from netsim.runs import questions
from netsim.runs.run import Run

MAX_DOTS = 1500
MAX_HISTOGRAM = 40


def fairness_section(run: Run) -> Section | None:
    """Return the clients' merged updates, and the accuracy that each gets."""
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
    frame = _counted(times, size)
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


def _counted(times: pd.Series[int], size: int) -> pd.DataFrame:
    """Return the number of clients in each bin of ``size`` counts of merges."""
    counts = (times // size * size).value_counts()
    every = range(int(counts.index.min()), int(counts.index.max()) + 1, size)
    counts = counts.reindex(every, fill_value=0)
    frame = counts.rename_axis("times").rename("clients").reset_index()
    frame["until"] = frame["times"] + size
    frame["label"] = [
        f"{t}" if size == 1 else f"{t} to {t + size - 1}" for t in frame["times"]
    ]
    return frame


def _influence(found: pd.DataFrame) -> Chart:
    """Return each client's share of all merges against its share of the data."""
    frame = thinned(found.reset_index().sort_values("data_weight"), MAX_DOTS)
    frame = frame.astype({"device": "str"})
    most = float(max(frame["data_weight"].max(), frame["influence"].max()))
    ends = alt.Data(values=[{"a": 0, "b": 0}, {"a": most, "b": most}])
    equal = alt.Chart(ends).mark_line(color=marks.QUIET, strokeDash=[4, 4])
    dots = marks.source("influence").mark_circle(
        size=60, color=marks.PALETTE[1], opacity=0.75
    )
    axis = alt.Axis(format="~%", tickCount=5)
    x = alt.X("data_weight:Q", title="share of the data", axis=axis)
    y = alt.Y("influence:Q", title="share of all merges", axis=axis)
    tooltip = [
        marks.tip("client_id", "client", "d"),
        marks.tip_text("device", "device"),
        marks.tip("num_merged", "times merged", "d"),
        marks.tip("data_weight", "share of data", ".2%"),
        marks.tip("influence", "share of merges", ".2%"),
    ]
    layers = equal.encode(x="a:Q", y="b:Q"), dots.encode(x, y, tooltip=tooltip)
    return Chart(
        name="influence",
        title="Influence against data",
        spec=marks.spec(alt.layer(*layers), "influence against data"),
        frames={"influence": frame},
        note="On the dashed line a client counts as much as its data; above, more.",
    )


def _local_chart(run: Run) -> Chart | None:
    """Return the spread of accuracy over examined clients, own and common adapter."""
    unit = words.time_unit(end_s(run) * 1e9)
    frame = _local_spread(run, unit)
    if frame.empty:
        return None
    keys = [
        Key("common adapter", marks.PALETTE[0], "line"),
        Key("own adapter", marks.PALETTE[1], "line"),
    ]
    x, colour = marks.time_axis(unit), marks.colours("whose", keys)
    shape = marks.source("local").encode(x, colour, tooltip=_local_tooltip(unit))
    title = "accuracy on own data"
    band = shape.mark_area(opacity=0.18).encode(
        marks.number("low", title), alt.Y2("high:Q")
    )
    line = shape.mark_line(point=True).encode(marks.number("mid", title))
    return Chart(
        name="local",
        title="Accuracy on clients' own data",
        spec=marks.spec(alt.layer(band, line), "accuracy on clients' own data"),
        frames={"local": frame},
        legend=keys,
    )


def _local_spread(run: Run, unit: words.TimeUnit) -> pd.DataFrame:
    """Return the middle 80 % of examined clients, and the worst, by time."""
    names = {"local-personal": "own adapter", "local-global": "common adapter"}
    evals = run.evals[run.evals["client_id"].notna()]
    evals = evals[evals["split"].isin(list(names)) & evals["accuracy"].notna()]
    evals = evals.assign(
        time=evals["time_ns"] / unit.size_ns,
        whose=evals["split"].astype("str").map(names),
    )
    by = evals.groupby(["whose", "time"], observed=True)["accuracy"]
    shares = {"low": 0.1, "mid": 0.5, "high": 0.9}
    columns = {name: by.quantile(share) for name, share in shares.items()}
    columns |= {"clients": by.size(), "worst": by.min()}
    return pd.DataFrame(columns).reset_index()


def _local_tooltip(unit: words.TimeUnit) -> list[alt.Tooltip]:
    return [
        marks.tip_text("whose", "adapter"),
        marks.tip("mid", "median"),
        marks.tip("low", "10 % are below"),
        marks.tip("high", "10 % are above"),
        marks.tip("worst", "worst client"),
        marks.tip("clients", "clients examined", "d"),
        marks.tip("time", unit.title),
    ]


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

"""Where the time went: by round, by group of clients, and what it would be without."""

from __future__ import annotations

import altair as alt
import pandas as pd

from netsim.report import marks, words
from netsim.report.page import Chart, Column, Section, Table
from netsim.report.sampling import binned
from netsim.runs import questions
from netsim.runs.run import Run, server_kind

MAX_BARS = 100
MAX_GROUPS = 12
PHASES = ("download", "compute", "upload")
PATH = (*PHASES, "server")
SHARES = ("download", "compute", "upload", "waiting", "not taking part")


def time_section(run: Run) -> Section | None:
    """Return what rounds and clients spent their time on."""
    if run.rounds.empty or run.tasks.empty:
        return None
    if not questions.why_no_path(run):
        blocks: list[Chart | Table] = [_rounds_chart(run), *_groups_charts(run)]
        blocks += [_phases_table(run), _clients_table(run)]
        return Section("Where the time went", _sentences(run), blocks)
    text = [
        "This server does not wait for all: it merges what has come when it is time "
        "for it, so that no single client makes a round long."
    ]
    if server_kind(run.folder) == "hierarchical":
        text = ["Every edge server has rounds of its own; the cloud waits for all."]
    return Section("Where the time went", text, _groups_charts(run))


def _sentences(run: Run) -> list[str]:
    clients, phases = questions.without_clients(run), questions.without_phases(run)
    first, longest = clients.iloc[0], str(phases["saved_s"].idxmax())
    num_rounds = words.counted(len(run.rounds), "round")
    found = [
        "A round lasts until the last of its clients has arrived and the server has "
        "merged. Each bar is the path of that last client: what made the round so long."
    ]
    if first["saved_s"] > 0:
        found.append(
            f"Client {clients.index[0]} ({first['device']}) was the last in "
            f"{int(first['num_last'])} of {num_rounds}; without it the run would have "
            f"been {words.duration(float(first['saved_s']))} shorter "
            f"({first['speedup']:.3g} times as fast)."
        )
    saved_s = float(phases["saved_s"].max())
    found.append(
        f"The costliest phase is the {NOUNS[longest]}: if it took no time for "
        f"anybody, the run would have been {words.duration(saved_s)} shorter."
    )
    return found


NOUNS = {
    "download": "download",
    "compute": "computing",
    "upload": "upload",
    "server": "server's own part",
}


def _rounds_chart(run: Run) -> Chart:
    rows, size = _path_rows(run)
    title = "round" if size == 1 else f"round (mean of {size} at a time)"
    keys = marks.phase_keys(PATH)
    chart = (
        marks.source("path")
        .mark_bar()
        .encode(
            alt.X("round_id:O", title=title, axis=alt.Axis(labelOverlap=True)),
            marks.number("seconds", "seconds", zero=True),
            marks.colours("phase", keys),
            alt.Order("place:Q"),
            tooltip=[
                marks.tip("round_id", "round", "d"),
                marks.tip_text("phase", "phase"),
                marks.tip("seconds", "seconds"),
            ],
        )
    )
    return Chart(
        name="path",
        title="What made each round so long",
        is_wide=True,
        spec=marks.spec(chart, "seconds per phase of the last client of each round"),
        frames={"path": rows},
        legend=keys,
    )


def _path_rows(run: Run) -> tuple[pd.DataFrame, int]:
    """Return the mean seconds of each phase of the critical path, by bin of rounds, and
    the number of rounds in a bin."""
    path = questions.critical_path(run).reset_index()
    first = binned(path["round_id"], MAX_BARS).to_numpy()
    columns = {f"{name}_s": name for name in PATH}
    means = path[list(columns)].fillna(0.0).groupby(first).mean()
    rows = means.rename(columns=columns).rename_axis("round_id").reset_index()
    rows = rows.melt("round_id", list(PATH), "phase", "seconds")
    rows["place"] = rows["phase"].map(PATH.index)
    return rows, int(path["round_id"].nunique() / max(1, len(means)) + 0.999)


def client_shares(run: Run) -> pd.DataFrame:
    """Return per client the seconds of every phase, of waiting for the merge after its
    own part, and of not taking part; they add up to the run."""
    names = {f"{name}_s": name for name in ("download", "compute", "upload", "idle")}
    found = questions.idle_time(run).rename(columns=names)
    tasks = run.tasks
    ended_ns = questions.release_times_ns(run)
    waited_ns = (ended_ns - tasks["end_ns"]).clip(lower=0).fillna(0)
    if server_kind(run.folder) in ("asynchronous", "buffered"):
        waited_ns = waited_ns * 0  # no client waits: the next one is drawn at once
    waited_s = (waited_ns.astype("float64") / 1e9).groupby(tasks["client_id"]).sum()
    found["waiting"] = waited_s.reindex(found.index, fill_value=0.0)
    found["not taking part"] = (found["idle"] - found["waiting"]).clip(lower=0)
    found["cell"] = run.clients.set_index("client_id")["cell_id"].map("cell {}".format)
    return found[["device", "cell", *SHARES]]


def _groups_charts(run: Run) -> list[Chart | Table]:
    if run.clients.empty:
        return []
    shares = client_shares(run)
    columns = {"device": "device"}
    if shares["cell"].nunique() > 1:
        columns["cell"] = "cell"
    return [_group_chart(shares, by, title) for by, title in columns.items()]


def _group_chart(shares: pd.DataFrame, by: str, title: str) -> Chart:
    """Return the share of each phase in the time of a group of clients."""
    rows = _group_rows(shares, by)
    keys = marks.phase_keys([n for n in SHARES if n in set(rows["phase"])])
    name = f"groups-{by}"
    axis = alt.Axis(format="~%", tickCount=5)
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("share:Q", title="share of the run", axis=axis, scale=scale)
    tooltip = [
        marks.tip_text("group", title),
        marks.tip("clients", "clients", ",d"),
        marks.tip_text("phase", "spent on"),
        marks.tip("share", "share", ".1%"),
    ]
    y, colour = alt.Y("group:N", title=None), marks.colours("phase", keys)
    bars = marks.source(name).mark_bar()
    chart = bars.encode(x, y, colour, alt.Order("place:Q"), tooltip=tooltip)
    has_waiting = any(key.label == "waiting" for key in keys)
    return Chart(
        name=name,
        title=f"What clients spent the run on, by {title}",
        spec=marks.spec(chart, f"time by {title}", height=None),
        row_field="group",
        row_px=34,
        frames={name: rows},
        legend=keys,
        note="Waiting: done, until the server has merged the round." * has_waiting,
    )


def _group_rows(shares: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return a row per group and phase; the smallest groups together are the others."""
    group = shares[by].astype("str")
    kept = group.value_counts().index[:MAX_GROUPS]
    group = group.where(group.isin(kept), "others")
    sums = shares[list(SHARES)].groupby(group).sum()
    rows = sums.div(sums.sum(axis=1), axis=0).rename_axis("group").reset_index()
    rows = rows.melt("group", list(SHARES), "phase", "share")
    rows = rows[rows["share"] > 0]
    rows["place"] = rows["phase"].map(SHARES.index)
    return rows.assign(clients=rows["group"].map(group.value_counts()))


def _phases_table(run: Run) -> Table:
    found = questions.without_phases(run).reset_index()
    found["phase"] = found["phase"].map(NOUNS)
    columns = [
        Column("phase", "if it took no time"),
        Column("saved_s", "seconds saved", ".3f"),
        Column("speedup", "times as fast", ".3f"),
    ]
    note = (
        "Every round is timed again from the recorded times; freed band that others "
        "would use is not counted, so savings are at least these."
    )
    return Table("phases", "What if a phase were free?", found, columns, note=note)


def _clients_table(run: Run) -> Table:
    found = questions.without_clients(run).reset_index()
    found = found[found["saved_s"] > 0].head(10)
    parts = found[[f"without_{name}_s" for name in PHASES]].set_axis(PHASES, axis=1)
    found["mostly"] = parts.idxmax(axis=1).map(NOUNS) if len(found) else ""
    columns = [
        Column("client_id", "client"),
        Column("device", "device"),
        Column("num_last", "rounds as the last"),
        Column("saved_s", "seconds saved without it", ".3f"),
        Column("mostly", "mostly its"),
    ]
    title = "Who holds the others up?"
    return Table("stragglers", title, found, columns, is_wide=True)

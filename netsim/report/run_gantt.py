"""The phases of every client in one round at a time."""

from __future__ import annotations

import altair as alt
import pandas as pd

from netsim.report import marks, words
from netsim.report.page import Chart, Chooser, Section
from netsim.report.sampling import shown_rounds, thinned
from netsim.runs import questions
from netsim.runs.run import Run

MAX_CLIENTS = 50  # per round
PHASES = ("download", "compute", "upload")
DIGITS = ".3f"


def gantt_section(run: Run) -> Section | None:
    """Return the chosen rounds of a run as bars."""
    if run.rounds.empty or run.tasks.empty:
        return None
    spans = questions.round_spans(run)
    shown = shown_rounds(spans.reset_index())
    frame, num_cut = _bars(run, shown)
    if frame.empty:
        return None
    text = ["Choose a round. A row per client, in the order in which they ended."]
    if len(shown) < len(spans):
        text.append(
            f"Of {len(spans):,} rounds these {len(shown)} are here: the first, "
            "the last, the slowest ones and others evenly spaced. `netsim timeline` "
            "shows them all."
        )
    if num_cut:
        text.append(
            f"Of rounds with more than {MAX_CLIENTS} clients that many are here, from "
            "the first to the last to end."
        )
    return Section("One round at a time", text, [_chart(run, shown, frame)])


def _chart(run: Run, shown: list[int], frame: pd.DataFrame) -> Chart:
    keys = marks.phase_keys([*PHASES, "server"])
    place = alt.EncodingSortField("place", op="min")
    y = alt.Y("who:N", title=None, sort=place)
    title = "seconds since the round began"
    start, end = (
        alt.X(field, type="quantitative", title=title, scale=alt.Scale(nice=False))
        for field in ("start", "end")
    )
    shape = marks.source("gantt").transform_calculate(seconds="datum.end - datum.start")
    bars = shape.mark_bar(height={"band": 0.7}).encode(
        start, alt.X2("end:Q"), y, marks.colours("phase", keys), tooltip=_tooltip()
    )
    lost = shape.transform_filter("datum.is_cut").mark_text(
        text="\u00d7", fontSize=17, fontWeight="bold", color=marks.INK
    )
    chart = alt.layer(bars, lost.encode(end, y, tooltip=_tooltip()))
    return Chart(
        name="gantt",
        title="Who did what",
        is_wide=True,
        spec=marks.spec(chart, "who did what in a round", height=None),
        row_field="who",
        row_px=17,
        frames={"gantt": frame},
        legend=keys,
        choosers=[_chooser(run, shown)],
        note="A cross marks an update that is not merged: late, lost, cut by the end.",
    )


def _tooltip() -> list[alt.Tooltip]:
    return [
        marks.tip_text("who", "who"),
        marks.tip_text("phase", "doing"),
        marks.tip("start", "from (s)", DIGITS),
        marks.tip("end", "to (s)", DIGITS),
        marks.tip("seconds", "seconds"),
        marks.tip_text("device", "device"),
        marks.tip_text("status", "outcome"),
    ]


def _chooser(run: Run, shown: list[int]) -> Chooser:
    rounds = questions.round_spans(run).loc[shown]
    lengths_s = (rounds["end_ns"] - rounds["start_ns"]) / 1e9
    labels: dict[str | int, str] = {
        int(round_id): f"round {round_id}"
        f"{' (pilot)' if rounds.loc[round_id, 'phase'] == 'pilot' else ''}"
        f" · {words.duration(float(lengths_s[round_id]))}"
        for round_id in shown
    }
    return Chooser("round_id", "Round", labels, shown[0])


def _bars(run: Run, shown: list[int]) -> tuple[pd.DataFrame, int]:
    """Return the bars of the chosen rounds, and how many rounds lack clients."""
    spans = questions.round_spans(run)[["start_ns", "end_ns"]]
    belongs = run.tasks["merged_round_id"].fillna(run.tasks["round_id"])
    frames, num_cut = [], 0
    for round_id in shown:
        tasks = run.tasks[belongs == round_id].sort_values(["end_ns", "client_id"])
        num_cut += len(tasks) > MAX_CLIENTS
        tasks = thinned(tasks, MAX_CLIENTS).reset_index(drop=True)
        frames.append(_round_bars(_span(spans, round_id), tasks, round_id))
    bars = pd.concat(frames, ignore_index=True)
    devices = run.clients.set_index("client_id")["device"].astype("str")
    bars["device"] = bars.pop("client_id").map(devices).fillna("")
    return bars, num_cut


def _span(spans: pd.DataFrame, round_id: int) -> tuple[int, int]:
    """Return when a round began and when it ended."""
    return int(spans["start_ns"][round_id]), int(spans["end_ns"][round_id])


def _round_bars(
    span: tuple[int, int], tasks: pd.DataFrame, round_id: int
) -> pd.DataFrame:
    """Return a round's bars, in seconds since it began; the server's come last."""
    starts = tasks["download_start_ns"] - span[0]
    parts = questions.phases(tasks)
    bars, start_s = [], starts.astype("float64") / 1e9
    for name in PHASES:
        end_s = start_s + parts[f"{name}_s"]
        bar = {"client_id": tasks["client_id"], "start": start_s, "end": end_s}
        bars.append(pd.DataFrame(bar).assign(phase=name, place=tasks.index))
        bars[-1]["status"] = tasks["status"].astype("str")
        start_s = end_s
    found = pd.concat(bars)
    found["who"] = "client " + found["client_id"].astype("str")
    found = found[found["end"] > found["start"]]
    is_last = found.groupby("who")["end"].transform("max") == found["end"]
    found["is_cut"] = is_last & (found["status"] != "done")
    server = _server_bars(span, tasks)
    return pd.concat([found, server]).assign(round_id=round_id)


def _server_bars(span: tuple[int, int], tasks: pd.DataFrame) -> pd.DataFrame:
    """Return what the server did before the first and after the last of its clients."""
    start_ns, length_s = span[0], (span[1] - span[0]) / 1e9
    if tasks.empty:
        spans = [(0.0, length_s)]
    else:
        first_s = (int(tasks["download_start_ns"].min()) - start_ns) / 1e9
        last_s = (int(tasks["end_ns"].max()) - start_ns) / 1e9
        spans = [(0.0, first_s), (last_s, length_s)]
    kept = [(start, end) for start, end in spans if end > start]
    bars = pd.DataFrame(kept, columns=["start", "end"])
    return bars.assign(
        phase="server", who="server", place=len(tasks), status="", is_cut=False
    )

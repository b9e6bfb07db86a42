"""How good the adapter is and when, and how far its merges are from the ideal."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from fl.contract import FALLING_METRICS, METRICS
from netsim.report import marks, words
from netsim.report.page import Chart, Column, Key, Section, Table
from netsim.report.run_facts import end_s, target_of
from netsim.report.sampling import binned, thinned
from netsim.runs import questions
from netsim.runs.run import Run

MAX_POINTS = 1000
MAX_LAYERS = 40
MAX_COLUMNS = 80
LEVELS = 8


def accuracy_section(run: Run) -> Section | None:
    """Return the metrics over simulated time, and when each level was first met."""
    evals = run.global_evals()
    names = [name for name in METRICS if evals[name].notna().any()]
    if evals.empty or not names:
        return None
    text = [
        "The server's adapter on test samples that no client has trained on. Time is "
        "the simulated clock, not rounds: a round may be long or short."
    ]
    if run.manifest.pilot_time_ns:
        text.append("The shaded part are pilots, which measure before they plan.")
    charts = [
        _metric_chart(run, evals, name, is_first=name == names[0]) for name in names
    ]
    blocks: list[Chart | Table] = [*charts]
    for name in names[:1]:
        blocks.append(_levels_table(run, evals, name))
    return Section("How good, and when", text, blocks)


def _metric_chart(
    run: Run, evals: pd.DataFrame, metric: str, *, is_first: bool
) -> Chart:
    unit = words.time_unit(end_s(run) * 1e9)
    title = words.metric_words(metric)
    points = thinned(evals.dropna(subset=[metric]), MAX_POINTS)
    frame = points[["round_id", metric]].assign(time=points["time_ns"] / unit.size_ns)
    curve = marks.source(metric).encode(
        marks.time_axis(unit),
        marks.number(metric, title),
        tooltip=[
            marks.tip(metric, title),
            marks.tip("round_id", "round", "d"),
            marks.tip("time", unit.title),
        ],
    )
    line = curve.mark_line(color=marks.PALETTE[0], interpolate="step-after")
    dots = curve.mark_circle(color=marks.PALETTE[0], size=36, opacity=1)
    layers = [*_pilot_shade(run, unit), *_target_rule(run, metric), line, dots]
    return Chart(
        name=metric,
        title=title.capitalize(),
        is_wide=is_first,
        spec=marks.spec(alt.layer(*layers), f"{title} over simulated time"),
        frames={metric: frame},
    )


def _pilot_shade(run: Run, unit: words.TimeUnit) -> list[alt.Chart]:
    if not run.manifest.pilot_time_ns:
        return []
    rows = alt.Data(
        values=[{"start": 0.0, "end": run.manifest.pilot_time_ns / unit.size_ns}]
    )
    shade = alt.Chart(rows).mark_rect(color=marks.QUIET, opacity=0.15)
    return [shade.encode(x="start:Q", x2="end:Q", tooltip=alt.value("pilots"))]


def _target_rule(run: Run, metric: str) -> list[alt.Chart]:
    target = target_of(run)
    if target is None or target.metric != metric:
        return []
    rule = alt.Chart(alt.Data(values=[{"level": target.level}])).mark_rule(
        color=marks.INK, strokeDash=[4, 4]
    )
    return [rule.encode(y="level:Q", tooltip=alt.value(f"target {target.level:g}"))]


def _levels_table(run: Run, evals: pd.DataFrame, metric: str) -> Table:
    """Return when the run first met some round levels between start and best."""
    rows = []
    for level in _levels(evals[metric].dropna(), metric):
        moment = run.time_to(metric, level)
        if isinstance(moment, pd.Timedelta):
            at_s = moment.total_seconds()
            rows.append({"level": level, "time_s": at_s, "time": words.duration(at_s)})
    name = words.metric_words(metric)
    columns = [Column("level", name, ".4g"), Column("time", "first reached after")]
    return Table("levels", f"When each {name} was reached", pd.DataFrame(rows), columns)


def _levels(values: pd.Series[float], metric: str) -> list[float]:
    """Return some levels with few digits on the way from the first to the best."""
    is_falling = metric in FALLING_METRICS
    first, best = float(values.iloc[0]), float(values.min() if is_falling else 0)
    best = best if is_falling else float(values.max())
    low, high = sorted((first, best))
    for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10):
        if (high - low) / step <= LEVELS:
            numbers = range(int(low / step) + 1, int(high / step + 1e-9) + 1)
            found = [round(number * step, 3) for number in numbers]
            return found[::-1] if is_falling else found
    return [best]


def merge_section(run: Run) -> Section | None:
    """Return how far merged layers are from the ideal sum, by round and by layer."""
    merges = run.merges[run.merges["relative_error"].notna()]
    if merges.empty:
        return None
    text = [
        "The ideal merge is the weighted sum of what all clients have learned. Under "
        "an adapter's traffic it cannot be sent in full; the error is what is lost, "
        "relative to that sum. The grey line is what plain averaging of the same "
        "updates would have lost."
    ]
    blocks = [_error_chart(run), _layers_chart(merges)]
    return Section("What merging loses", text, blocks)


ERRORS = {
    "mean_error": ("mean over layers", marks.PALETTE[0]),
    "worst_error": ("worst layer", marks.PALETTE[1]),
    "average_error": ("plain averaging", marks.QUIET),
}


def _error_chart(run: Run) -> Chart:
    errors = thinned(questions.merge_error(run).reset_index(), MAX_POINTS)
    names = {key: what for key, (what, _) in ERRORS.items()}
    keys = [Key(what, colour, "line") for what, colour in ERRORS.values()]
    rows = errors.melt("round_id", list(names), "what", "error").dropna()
    rows["what"] = rows["what"].map(names)
    chart = (
        marks.source("errors")
        .mark_line(point=alt.OverlayMarkDef(size=24))
        .encode(
            alt.X("round_id:Q", title="round", scale=alt.Scale(nice=False)),
            marks.number("error", "relative error", zero=True),
            marks.colours("what", keys),
            tooltip=[
                marks.tip_text("what", "line"),
                marks.tip("error", "relative error"),
                marks.tip("round_id", "round", "d"),
            ],
        )
    )
    return Chart(
        name="errors",
        title="Error of the merge, by round",
        spec=marks.spec(chart, "relative error of the merge by round"),
        frames={"errors": rows},
        legend=keys,
    )


def _layers_chart(merges: pd.DataFrame) -> Chart:
    """Return the error of every layer and round as a heat map."""
    frame, num_layers = _layer_rows(merges)
    colour = alt.Color(
        "error:Q",
        scale=alt.Scale(scheme=marks.HEAT),
        legend=alt.Legend(title="relative error", orient="bottom"),
    )
    tooltip = [
        marks.tip_text("layer", "layer"),
        marks.tip("round_id", "round", "d"),
        marks.tip("error", "relative error"),
    ]
    x = alt.X("round_id:O", title="round", axis=alt.Axis(labelOverlap=True))
    y = alt.Y("name:N", title=None, sort=list(dict.fromkeys(frame["name"])))
    chart = marks.source("layers").mark_rect().encode(x, y, colour, tooltip=tooltip)
    is_cut = num_layers > MAX_LAYERS
    return Chart(
        name="layers",
        title="Error of the merge, by layer and round",
        is_wide=True,
        spec=marks.spec(chart, "error by layer", height=None),
        row_field="name",
        row_px=17,
        frames={"layers": frame},
        note=f"The {MAX_LAYERS} worst of {num_layers} layers." if is_cut else "",
    )


def _layer_rows(merges: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the errors of the worst layers, in the model's order and over groups of
    rounds if these are many, and how many layers there are."""
    means = merges.groupby("layer", observed=True)["relative_error"].mean()
    kept = set(means.nlargest(MAX_LAYERS).index)
    rows = merges[merges["layer"].isin(kept)].astype({"layer": "str"})
    rows["round_id"] = binned(rows["round_id"], MAX_COLUMNS).to_numpy()
    by_cell = rows.groupby(["layer", "round_id"], sort=False)["relative_error"]
    frame = by_cell.mean().rename("error").reset_index()
    names = short_names(list(dict.fromkeys(frame["layer"])))
    return frame.assign(name=frame["layer"].map(names)), len(means)


def short_names(layers: Sequence[str]) -> dict[str, str]:
    """Return each layer's name without the parts that all have in common."""
    parts = [layer.split(".") for layer in layers]
    if len({len(own) for own in parts}) != 1:
        return {layer: layer for layer in layers}
    differs = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    return {
        layer: ".".join(part for part, d in zip(own, differs, strict=True) if d)
        or layer
        for layer, own in zip(layers, parts, strict=True)
    }

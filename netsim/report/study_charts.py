"""The charts of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

from netsim.report import marks, words
from netsim.report.page import Chart, Chooser, Key
from netsim.report.study_data import StudyData
from netsim.study.outcomes import THE_END

METRICS = ("accuracy", "exact_match", "loss", "perplexity")
MAX_TICKS = 6
LEADS = (  # of round ratios, from fine to coarse
    (1, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 8.5, 9, 9.5),
    (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 3, 5, 8, 9),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1,),
)
LOG_FROM = 15.0  # a larger ratio of the greatest to the least is drawn on a log scale
# a variant of several axes takes a line for each
LINES = "split(datum.label, ', ')"


def _target_chooser(data: StudyData, frame: pd.DataFrame) -> list[Chooser]:
    names = [name for name in data.targets if name in set(frame["target"])]
    labels: dict[str | int, str] = {name: _goal(name) for name in names}
    return [Chooser("target", "Target", labels, names[0])] if len(names) > 1 else []


def _goal(target: str) -> str:
    return "the end of the run" if target == THE_END else target


def _variants(data: StudyData) -> alt.Y:
    """Return an axis with a row per combination."""
    order = [one.label for one in data.combinations]
    axis = alt.Axis(labelExpr=LINES, labelLineHeight=13)
    return alt.Y("variant:N", title=None, sort=order, axis=axis)


def _row_px(data: StudyData) -> int:
    """Return how high the row of a combination is: a line per axis."""
    return 15 + 13 * len(data.axes)


def time_chart(data: StudyData) -> Chart:
    """Return each seed's time to the target, and the mean."""
    done = data.done
    unit = words.time_unit(float(done["time_ns"].max()))
    columns = ["variant", "arm", "target", "seed", "is_reached", "rounds"]
    frame = done[columns].assign(time=done["time_ns"].astype("float64") / unit.size_ns)
    frame["reached"] = done["is_reached"].map({True: "yes", False: "no: ran so long"})
    frame = frame.drop(columns="is_reached")
    means = frame.groupby(["variant", "arm", "target"], sort=False)["time"].mean()
    keys = _dots(marks.palette_keys(data.arm_names))
    y = _variants(data)
    x = alt.X("time:Q", title=f"time to the target ({unit.name})")
    dots = (
        marks.source("times")
        .mark_point(size=60, strokeWidth=2, opacity=0.9)
        .encode(
            x,
            y,
            marks.colours("arm", keys),
            tooltip=[
                marks.tip_text("variant", "variant"),
                marks.tip("seed", "seed", "d"),
                marks.tip("time", f"time ({unit.name})"),
                marks.tip_text("reached", "reached"),
                marks.tip("rounds", "rounds", "d"),
            ],
        )
    )
    full = dots.transform_filter("datum.reached == 'yes'").mark_circle(
        size=75, opacity=0.85
    )
    rings = dots.transform_filter("datum.reached != 'yes'")
    mean = (
        marks.source("time-means")
        .mark_tick(thickness=2.5, color=marks.INK, size=22)
        .encode(x, y, tooltip=[marks.tip("time", f"mean ({unit.name})")])
    )
    chart = alt.layer(full, rings, mean)
    return Chart(
        name="times",
        title="Time to the target",
        spec=marks.spec(chart, "time to the target", height=None),
        row_field="variant",
        row_px=_row_px(data),
        frames={"times": frame, "time-means": means.reset_index()},
        legend=[*keys, Key("mean over seeds", marks.INK, "line")],
        choosers=_target_chooser(data, frame),
    )


def _dots(keys: Sequence[Key]) -> list[Key]:
    return [Key(key.label, key.colour, "dot") for key in keys]


def speedup_chart(data: StudyData) -> Chart:
    """Return how many times as fast as its baseline each combination is."""
    choices = {one.label: one.choice for one in data.combinations}
    summary = data.study.summary
    frame = summary[summary["variant"] != summary["baseline"]]
    frame = frame[frame["num_seeds"] > 0]
    # where no bound holds on the paired ratio, that of the restricted means
    is_paired = frame["speedup_bound"] != "unknown"
    for end in ("", "_low", "_high"):
        other = frame[f"restricted_speedup{end}"]
        frame = frame.assign(
            **{f"x{end}": frame[f"speedup{end}"].where(is_paired, other)}
        )
    chosen = pd.DataFrame([choices[name] for name in frame["variant"]])
    frame = frame.reset_index(drop=True)
    frame["arm"] = data.arms(chosen) if len(chosen) else ""
    frame["bound"] = frame["speedup_bound"].where(
        frame["speedup_bound"] != "unknown", "means of the time both were watched"
    )
    columns = ["variant", "arm", "target", "baseline", "bound", "num_seeds"]
    frame = frame[[*columns, "x", "x_low", "x_high"]].dropna(subset=["x"])
    keys = _dots(marks.palette_keys(data.arm_names))
    shape = marks.source("speedups").encode(
        y=_variants(data),
        color=marks.colours("arm", keys),
        tooltip=[
            marks.tip_text("variant", "variant"),
            marks.tip_text("baseline", "compared with"),
            marks.tip("x", "times as fast", ".3g"),
            marks.tip("x_low", "95 % from", ".3g"),
            marks.tip("x_high", "95 % to", ".3g"),
            marks.tip_text("bound", "is"),
            marks.tip("num_seeds", "seeds", "d"),
        ],
    )
    title = "times as fast as the baseline"
    scale = alt.Scale(type="log", nice=False, padding=12)
    axis = alt.Axis(format=".3~g", values=_ratio_ticks(frame))
    whiskers = shape.mark_rule(strokeWidth=3, opacity=0.55).encode(
        alt.X("x_low:Q", scale=scale, title=title, axis=axis), alt.X2("x_high:Q")
    )
    dots = shape.mark_circle(size=90, opacity=1).encode(
        alt.X("x:Q", scale=scale, title=title, axis=axis)
    )
    one = (
        alt.Chart(alt.Data(values=[{"one": 1}]))
        .mark_rule(color=marks.INK, strokeDash=[4, 4])
        .encode(alt.X("one:Q", scale=scale, title=title, axis=axis))
    )
    chart = alt.layer(one, whiskers, dots)
    return Chart(
        name="speedups",
        title="Speed against the baseline",
        spec=marks.spec(chart, "speed against the baseline", height=None),
        row_field="variant",
        row_px=_row_px(data),
        frames={"speedups": frame},
        legend=[key for key in keys if key.label in set(frame["arm"])],
        choosers=_target_chooser(data, frame),
    )


def _ratio_ticks(frame: pd.DataFrame) -> list[float]:
    """Return round ratios within what a chart shows, not too many."""
    ends = frame[["x", "x_low", "x_high"]].to_numpy(dtype=float)
    low, high = min([1.0, *ends[ends > 0]]), max([1.0, *ends[ends > 0]])
    for leads in LEADS:
        found = [float(f"{lead}e{power}") for power in range(-6, 7) for lead in leads]
        shown = [value for value in found if low <= value <= high]
        if len(shown) <= MAX_TICKS:
            return shown
    return [1.0]


def curve_charts(data: StudyData) -> list[Chart]:
    """Return the metrics over simulated time, with bands over seeds."""
    curves = data.curves
    if curves.empty:
        return []
    names = [name for name in METRICS if curves[name].notna().any()]
    return [_curve_chart(data, name) for name in names]


def _curve_chart(data: StudyData, metric: str) -> Chart:
    frame = data.mean_curves(metric)
    unit = words.time_unit(float(frame["time_ns"].max()))
    frame["time"] = frame.pop("time_ns") / unit.size_ns
    keys = marks.palette_keys(data.arm_names)
    title = words.metric_words(metric)
    name = f"curves-{metric}"
    shape = marks.source(name).encode(
        marks.time_axis(unit),
        marks.colours("arm", keys),
        tooltip=[
            marks.tip_text("variant", "variant"),
            marks.tip("mean", f"mean {title}"),
            marks.tip("low", "least"),
            marks.tip("high", "greatest"),
            marks.tip("seeds", "seeds", "d"),
            marks.tip("time", unit.title),
        ],
    )
    y = marks.number("low", title)
    band = shape.mark_area(opacity=0.16).encode(y, alt.Y2("high:Q"))
    line = shape.mark_line(strokeWidth=2).encode(
        marks.number("mean", title), marks.dashes("arm", keys)
    )
    points = shape.mark_point(size=90, opacity=0, filled=True).encode(
        marks.number("mean", title)
    )
    return Chart(
        name=name,
        title=title.capitalize(),
        is_wide=metric == METRICS[0],
        spec=marks.spec(
            alt.layer(band, line, points), f"{title} over time", height=300
        ),
        frames={name: frame},
        legend=keys,
        choosers=_axis_choosers(data, frame),
    )


def _axis_choosers(data: StudyData, frame: pd.DataFrame) -> list[Chooser]:
    found = []
    for axis in data.other_axes:
        values = list(dict.fromkeys(frame[axis]))
        if len(values) > 1:
            labels: dict[str | int, str] = {value: value for value in values}
            found.append(Chooser(axis, axis, labels, values[0]))
    return found


def energy_chart(data: StudyData) -> Chart:
    """Return time to the target beside energy until then, with the front."""
    done = data.done
    unit = words.time_unit(float(done["time_ns"].max()))
    time = done["time_ns"].astype("float64") / unit.size_ns
    costs = Costs(
        "energy",
        "Time against energy",
        f"time to the target ({unit.name})",
        "energy of all devices (J)",
        is_up=False,
    )
    return _costs_chart(data, costs, done.assign(x=time, y=done["energy_j"]))


def bytes_chart(data: StudyData) -> Chart | None:
    """Return bytes sent in the whole run beside the accuracy at its end."""
    done = data.done.drop_duplicates(["variant", "seed"])
    done = done.merge(data.run_bits, on=["variant", "seed"])
    done = done[done["final_accuracy"].notna()]
    if done.empty:
        return None
    costs = Costs(
        "bytes",
        "Accuracy against bytes",
        "megabytes sent, up and down",
        "accuracy at the end",
        is_up=True,
    )
    megabytes = done["all_bits"] / 8e6
    frame = done.assign(x=megabytes, y=done["final_accuracy"], target=EVERYWHERE)
    return _costs_chart(data, costs, frame)


@dataclass(frozen=True, slots=True)
class Costs:
    """Two costs that are drawn beside each other; of ``y`` more is better if up."""

    name: str
    title: str
    x_title: str
    y_title: str
    is_up: bool

    @property
    def tooltip(self) -> list[alt.Tooltip]:
        """What a dot says of itself."""
        return [
            marks.tip_text("variant", "variant"),
            marks.tip("x", self.x_title),
            marks.tip("y", self.y_title),
        ]

    def axes(self, means: pd.DataFrame) -> tuple[alt.X, alt.Y]:
        """Return both axes, for dots at these places."""
        return (
            alt.X("x:Q", title=self.x_title, scale=_scale(means["x"]), axis=SPARSE),
            alt.Y("y:Q", title=self.y_title, scale=_scale(means["y"]), axis=SPARSE),
        )


SPARSE = alt.Axis(format="~g", tickCount=5)
EVERYWHERE = "all"


def _costs_chart(data: StudyData, costs: Costs, frame: pd.DataFrame) -> Chart:
    """Return a large dot per combination, the mean of its seeds, small ones for seeds,
    and a line along those that nobody beats."""
    frame = _among(data, frame)
    keys = ["variant", "arm", "target", "among"]
    means = frame.groupby(keys, sort=False)[["x", "y"]].mean().reset_index()
    means["seeds"] = frame.groupby(keys, sort=False).size().to_numpy()
    groups = means.groupby(["target", "among"], sort=False)
    fronts = [front(rows, is_up=costs.is_up) for _, rows in groups]
    legend = _dots(marks.palette_keys(data.arm_names))
    x, y = costs.axes(means)
    colour, tooltip = marks.colours("arm", legend), costs.tooltip
    names = [f"{costs.name}-{part}" for part in ("front", "seeds", "means")]
    line = marks.source(names[0]).mark_line(color=marks.QUIET, strokeDash=[4, 3])
    small = marks.source(names[1]).mark_circle(size=18, opacity=0.45)
    large = marks.source(names[2]).mark_circle(size=110, opacity=0.95)
    own, mean = marks.tip("seed", "seed", "d"), marks.tip("seeds", "seeds", "d")
    chart = alt.layer(
        line.encode(x, y, alt.Order("x:Q")),
        small.encode(x, y, colour, tooltip=[*tooltip, own]),
        large.encode(x, y, colour, tooltip=[*tooltip, mean]),
    )
    frames = pd.concat(fronts, ignore_index=True), frame, means
    return Chart(
        name=costs.name,
        title=costs.title,
        spec=marks.spec(chart, costs.title, height=300),
        frames=dict(zip(names, frames, strict=True)),
        legend=legend,
        choosers=[*_among_chooser(frame), *(_target_chooser(data, frame))],
        note="Large dots are means over seeds, small ones the seeds.",
    )


def _among(data: StudyData, frame: pd.DataFrame) -> pd.DataFrame:
    """Return every row twice where there are other axes: among all and among those
    that it is compared with (``among``)."""
    columns = ["variant", "arm", "target", "seed", "x", "y"]
    everywhere = frame[columns].assign(among=EVERYWHERE)
    if not data.other_axes:
        return everywhere
    like = frame[data.other_axes].agg(", ".join, axis=1)
    return pd.concat([everywhere, frame[columns].assign(among=like)])


def _among_chooser(frame: pd.DataFrame) -> list[Chooser]:
    values = list(dict.fromkeys(frame["among"]))
    labels: dict[str | int, str] = {value: value for value in values}
    return [Chooser("among", "Show", labels, EVERYWHERE)] if len(values) > 1 else []


def front(rows: pd.DataFrame, *, is_up: bool) -> pd.DataFrame:
    """Return the rows that no other beats in both: least ``x`` and least ``y``, or the
    greatest ``y`` where up is better; by rising ``x``."""
    ordered = rows.assign(cost=-rows["y"] if is_up else rows["y"])
    ordered = ordered.sort_values(["x", "cost"], kind="stable")
    best = ordered["cost"].cummin()
    is_first = ~(best >= best.shift())
    return ordered[is_first].drop(columns="cost")


def _scale(values: pd.Series[float]) -> alt.Scale:
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > LOG_FROM:
        return alt.Scale(type="log", nice=False, padding=14)
    return alt.Scale(zero=False, padding=14)

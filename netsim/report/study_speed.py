"""The times and speed-ups of a study's combinations."""

from __future__ import annotations

from functools import partial

import altair as alt
import pandas as pd

from netsim.report import marks, words
from netsim.report.page import Chart, Key
from netsim.report.study_data import StudyData
from netsim.report.study_parts import dot_keys, row_px, target_chooser, variants_axis

YES = "yes"
MAX_TICKS = 6
LEADS = (  # of round ratios, from fine to coarse
    (1, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 8.5, 9, 9.5),
    (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 3, 5, 8, 9),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1,),
)


def time_chart(data: StudyData) -> Chart:
    """Return each seed's time to the target, and the mean."""
    done = data.done
    unit = words.time_unit(float(done["time_ns"].max()))
    frame = _times(done, unit)
    means = frame.groupby(["variant", "arm", "target"], sort=False)["time"].mean()
    keys = dot_keys(marks.palette_keys(data.arm_names))
    x = alt.X("time:Q", title=f"time to the target ({unit.name})")
    y, colour = variants_axis(data), marks.colours("arm", keys)
    shape = marks.source("times").encode(x, y, colour, tooltip=_time_tooltip(unit))
    full = shape.transform_filter(f"datum.reached == '{YES}'")
    rings = shape.transform_filter(f"datum.reached != '{YES}'")
    mean = marks.source("time-means").mark_tick(thickness=2.5, color=marks.INK, size=22)
    chart = alt.layer(
        full.mark_circle(size=75, opacity=0.85),
        rings.mark_point(size=60, strokeWidth=2, opacity=0.9),
        mean.encode(x, y, tooltip=[marks.tip("time", f"mean ({unit.name})")]),
    )
    return Chart(
        name="times",
        title="Time to the target",
        spec=marks.spec(chart, "time to the target", height=None),
        row_field="variant",
        row_px=row_px(data),
        frames={"times": frame, "time-means": means.reset_index()},
        legend=[*keys, Key("mean over seeds", marks.INK, "line")],
        choosers=target_chooser(data, frame),
    )


def _times(done: pd.DataFrame, unit: words.TimeUnit) -> pd.DataFrame:
    columns = ["variant", "arm", "target", "seed", "rounds"]
    time = done["time_ns"].astype("float64") / unit.size_ns
    reached = done["is_reached"].map({True: YES, False: "no: ran so long"})
    return done[columns].assign(time=time, reached=reached)


def _time_tooltip(unit: words.TimeUnit) -> list[alt.Tooltip]:
    return [
        marks.tip_text("variant", "variant"),
        marks.tip("seed", "seed", "d"),
        marks.tip("time", f"time ({unit.name})"),
        marks.tip_text("reached", "reached"),
        marks.tip("rounds", "rounds", "d"),
    ]


def speedup_chart(data: StudyData) -> Chart:
    """Return the speed of each combination relative to its baseline."""
    frame = _speedups(data)
    keys = dot_keys(marks.palette_keys(data.arm_names))
    axis = alt.Axis(format=".3~g", values=_ratio_ticks(frame), labelOverlap="greedy")
    x = partial(_ratio_axis, axis=axis)
    y, colour = variants_axis(data), marks.colours("arm", keys)
    shape = marks.source("speedups").encode(y, colour, tooltip=_speed_tooltip())
    one = alt.Chart(alt.Data(values=[{"one": 1}]))
    chart = alt.layer(
        one.mark_rule(color=marks.INK, strokeDash=[4, 4]).encode(x("one")),
        shape.transform_filter("isValid(datum.x_low)")
        .mark_rule(strokeWidth=3, opacity=0.55)
        .encode(x("x_low"), alt.X2("x_high:Q")),
        shape.mark_circle(size=90, opacity=1).encode(x("x")),
    )
    return Chart(
        name="speedups",
        title="Speed against the baseline",
        spec=marks.spec(chart, "speed against the baseline", height=None),
        row_field="variant",
        row_px=row_px(data),
        frames={"speedups": frame},
        legend=[key for key in keys if key.label in set(frame["arm"])],
        choosers=target_chooser(data, frame),
    )


def _ratio_axis(field: str, axis: alt.Axis) -> alt.X:
    scale = alt.Scale(type="log", nice=False, padding=12)
    title = "times as fast as the baseline"
    return alt.X(field, type="quantitative", scale=scale, title=title, axis=axis)


def _speedups(data: StudyData) -> pd.DataFrame:
    """Return the ratios of all but baselines; where nothing bounds the paired one, that
    of the means within the time that both were watched."""
    summary = data.study.summary
    frame = summary[summary["variant"] != summary["baseline"]]
    frame = frame[frame["num_seeds"] > 0].reset_index(drop=True)
    is_paired = frame["speedup_bound"] != "unknown"
    for end in ("", "_low", "_high"):
        restricted = frame[f"restricted_speedup{end}"]
        frame[f"x{end}"] = frame[f"speedup{end}"].where(is_paired, restricted)
    for end in ("low", "high"):  # Student's where it exists, else the bootstrap's
        frame[f"x_{end}"] = frame[f"speedup_t_{end}"].fillna(frame[f"x_{end}"])
    words_ = "means of the time both were watched"
    frame["bound"] = frame["speedup_bound"].where(is_paired, words_)
    choices = {one.label: one.choice for one in data.combinations}
    chosen = pd.DataFrame([choices[name] for name in frame["variant"]])
    frame["arm"] = data.arms(chosen) if len(chosen) else ""
    columns = ["variant", "arm", "target", "baseline", "bound", "num_seeds"]
    return frame[[*columns, "x", "x_low", "x_high"]].dropna(subset=["x"])


def _speed_tooltip() -> list[alt.Tooltip]:
    return [
        marks.tip_text("variant", "variant"),
        marks.tip_text("baseline", "compared with"),
        marks.tip("x", "times as fast", ".3g"),
        marks.tip("x_low", "95 % from", ".3g"),
        marks.tip("x_high", "95 % to", ".3g"),
        marks.tip_text("bound", "is"),
        marks.tip("num_seeds", "seeds", "d"),
    ]


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

"""A study's metrics over simulated time, with bands over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from fl.contract import METRICS
from netsim.report import marks, words
from netsim.report.page import Chart, Key
from netsim.report.study_data import StudyData
from netsim.report.study_parts import chooser


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
    layers = _layers(name, unit, keys, title)
    return Chart(
        name=name,
        title=title.capitalize(),
        is_wide=metric == METRICS[0],
        spec=marks.spec(alt.layer(*layers), f"{title} over time", height=300),
        frames={name: frame},
        legend=keys,
        choosers=[
            one for axis in data.other_axes for one in chooser(axis, axis, frame[axis])
        ],
    )


def _layers(
    name: str, unit: words.TimeUnit, keys: Sequence[Key], title: str
) -> tuple[alt.Chart, ...]:
    """Return the band over seeds, the line of the mean and points to hover over."""
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
    return band, line, points

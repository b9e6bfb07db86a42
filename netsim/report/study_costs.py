"""The costs of a study's combinations: time, energy and bytes in pairs."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import pandas as pd

from netsim.report import marks, words
from netsim.report.page import Chart
from netsim.report.study_data import StudyData
from netsim.report.study_parts import chooser, dot_keys, target_chooser

LOG_FROM = 15.0  # a larger ratio of the greatest to the least is drawn on a log scale


def energy_chart(data: StudyData) -> Chart:
    """Return time to the target against energy until then, with the Pareto front."""
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
    """Return bytes sent in the whole run against the accuracy at its end."""
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
    """Two costs of one chart; a larger ``y`` is better if up."""

    name: str
    title: str
    x_title: str
    y_title: str
    is_up: bool

    @property
    def tooltip(self) -> list[alt.Tooltip]:
        """The tooltip of a dot."""
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
    and a line along those that no other beats."""
    frame = _among(data, frame)
    means = _means(frame)
    groups = means.groupby(["target", "among"], sort=False)
    fronts = [front(rows, is_up=costs.is_up) for _, rows in groups]
    legend = dot_keys(marks.palette_keys(data.arm_names))
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
    choosers = [*chooser("among", "Show", frame["among"]), *target_chooser(data, frame)]
    return Chart(
        name=costs.name,
        title=costs.title,
        spec=marks.spec(chart, costs.title, height=300),
        frames=dict(zip(names, frames, strict=True)),
        legend=legend,
        choosers=choosers,
        note="Large dots are means over seeds, small ones the seeds.",
    )


def _means(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the mean point of each combination and its number of seeds."""
    keys = ["variant", "arm", "target", "among"]
    means = frame.groupby(keys, sort=False)[["x", "y"]].mean().reset_index()
    means["seeds"] = frame.groupby(keys, sort=False).size().to_numpy()
    return means


def _among(data: StudyData, frame: pd.DataFrame) -> pd.DataFrame:
    """Return every row twice where there are other axes: among all and among those
    that it is compared with (``among``)."""
    columns = ["variant", "arm", "target", "seed", "x", "y"]
    everywhere = frame[columns].assign(among=EVERYWHERE)
    if not data.other_axes:
        return everywhere
    like = frame[data.other_axes].agg(", ".join, axis=1)
    return pd.concat([everywhere, frame[columns].assign(among=like)])


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

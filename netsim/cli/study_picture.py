"""The picture of a study: per target and combination the time to it, by seed and as a
geometric mean with its interval."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd

from netsim.core.files import write_atomically
from netsim.core.streams import stream
from netsim.report.libraries import NOT_INSTALLED, altair_if_installed
from netsim.study.frames import Study
from netsim.study.statistics import Sample, paired_ratio

PICTURE: Final = "study.svg"
WIDTH, ROW_HEIGHT = 360, 20


def draw(study: Study) -> str:
    """Write ``study.svg`` where altair is installed; return its path, or why not."""
    altair = altair_if_installed()
    if altair is None:
        return NOT_INSTALLED
    done = study.table[study.table["status"] == "complete"]
    if done.empty:
        return "none: no run is finished"
    parts = [
        _part(altair, str(target), rows)
        for target, rows in done.groupby("target", sort=False)
    ]
    picture = io.StringIO()
    altair.vconcat(*parts).save(picture, format="svg")
    path = study.folder / PICTURE
    write_atomically(path, picture.getvalue().encode())
    return str(path)


def _part(altair: Any, target: str, rows: pd.DataFrame) -> Any:
    """Return the chart of one target."""
    values = list(points(rows))
    height = ROW_HEIGHT * len({point["variant"] for point in values})
    base = altair.Chart(altair.Data(values=values), width=WIDTH, height=height)
    base = base.encode(y=altair.Y("variant:N", sort=None, title=None))
    x = altair.X("time_s:Q", title="simulated time (s)", scale=altair.Scale(zero=False))
    is_mean = "datum.what == 'mean'"
    seeds = base.transform_filter("datum.what == 'seed'")
    layers = [
        seeds.mark_point(opacity=0.5, size=30, color="#0072B2").encode(
            x=x,
            shape=altair.Shape(
                "end:N",
                scale=altair.Scale(
                    domain=["met", "not met by then"],
                    range=["circle", "triangle-right"],
                ),
                title=None,
            ),
        ),
        base.transform_filter(f"{is_mean} && isValid(datum.low_s)")
        .mark_rule(strokeWidth=2)
        .encode(x="low_s:Q", x2="high_s:Q"),
        base.transform_filter(is_mean)
        .mark_tick(thickness=3, color="#D55E00", size=14)
        .encode(x=x),
    ]
    return altair.layer(*layers).properties(title=f"to {target}")


def points(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Yield a point per seed, and per combination the geometric mean over seeds with
    its interval; where a seed never got there the mean is a lower bound."""
    for variant, own in rows.groupby("variant", sort=False):
        times_s = own["time_ns"].to_numpy(dtype=np.float64) / 1e9
        is_reached = own["is_reached"].to_numpy(dtype=bool)
        for time_s, is_met in zip(times_s, is_reached, strict=True):
            end = "met" if is_met else "not met by then"
            yield {"variant": variant, "what": "seed", "time_s": time_s, "end": end}
        second = Sample(np.ones(len(times_s)), np.ones(len(times_s), dtype=bool))
        mean = paired_ratio(
            Sample(times_s, is_reached), second, stream(0, "study", "bootstrap")
        )
        interval = {"low_s": mean.low, "high_s": mean.high}
        yield {
            "variant": variant,
            "what": "mean",
            "time_s": None if np.isnan(mean.value) else mean.value,
            **{name: None if np.isnan(v) else v for name, v in interval.items()},
        }

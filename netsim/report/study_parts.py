"""Parts that the charts of a study share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import altair as alt
import pandas as pd

from netsim.report.page import Chooser, Key
from netsim.report.study_data import StudyData
from netsim.study.outcomes import THE_END

# a variant of several axes takes a line for each
LINES = "split(datum.label, ', ')"


def target_chooser(data: StudyData, frame: pd.DataFrame) -> list[Chooser]:
    """Return a chooser of the target, if there are several targets."""
    names = [name for name in data.targets if name in set(frame["target"])]
    return chooser("target", "Target", names, {THE_END: "the end of the run"})


def chooser(
    column: str, title: str, values: Iterable[str], words: Mapping[str, str] = {}
) -> list[Chooser]:
    """Return a chooser of a column's different values, if there are several; it shows
    some of them in other ``words``."""
    names = list(dict.fromkeys(values))
    labels: dict[str | int, str] = {name: words.get(name, name) for name in names}
    return [Chooser(column, title, labels, names[0])] if len(names) > 1 else []


def variants_axis(data: StudyData) -> alt.Y:
    """Return an axis with a row per combination."""
    order = [one.label for one in data.combinations]
    axis = alt.Axis(labelExpr=LINES, labelLineHeight=13)
    return alt.Y("variant:N", title=None, sort=order, axis=axis)


def row_px(data: StudyData) -> int:
    """Return the height of a combination's row: a line per axis."""
    return 15 + 13 * len(data.axes)


def dot_keys(keys: Sequence[Key]) -> list[Key]:
    """Return a legend as dots."""
    return [Key(key.label, key.colour, "dot") for key in keys]

"""Parts that the charts of a report share: colours, axes, tooltips.

Colours are the page's own variables, so that a chart follows the light and the dark
theme. The palette is that of Okabe and Ito, which colour-blind eyes tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from netsim.report.page import Key, Spec
from netsim.report.words import TimeUnit

PALETTE = tuple(f"var(--c{number})" for number in range(1, 9))
QUIET = "var(--quiet)"
INK = "var(--ink)"
PHASE_COLOURS = {
    "download": "var(--download)",
    "compute": "var(--compute)",
    "upload": "var(--upload)",
    "server": "var(--server)",
    "waiting": "var(--waiting)",
    "not taking part": "var(--away)",
}
HEAT = "viridis"
DIGITS = ".4~g"


def spec(
    chart: alt.Chart | alt.LayerChart, description: str, *, height: int | None = 260
) -> Spec:
    """Return a chart as Vega-Lite, as wide as its place on the page."""
    sized = chart.properties(width="container", description=description)
    if height is not None:
        sized = sized.properties(height=height)
    return dict(sized.to_dict(validate=True))


def source(frame: str) -> alt.Chart:
    """Return a chart of one of the page's frames, named."""
    return alt.Chart(alt.NamedData(name=frame))


def time_axis(unit: TimeUnit) -> alt.X:
    """Return the axis of simulated time."""
    scale = alt.Scale(nice=False, zero=False)
    return alt.X("time", type="quantitative", title=unit.title, scale=scale)


def number(name: str, title: str, *, form: str = DIGITS, zero: bool = False) -> alt.Y:
    """Return a vertical axis of numbers."""
    kind = alt.Scale(zero=zero)
    axis = alt.Axis(format=form, tickCount=5)
    return alt.Y(name, type="quantitative", title=title, scale=kind, axis=axis)


def tip(name: str, title: str, form: str = DIGITS) -> alt.Tooltip:
    """Return a number of the tooltip."""
    return alt.Tooltip(name, type="quantitative", title=title, format=form)


def tip_text(name: str, title: str) -> alt.Tooltip:
    """Return a word of the tooltip."""
    return alt.Tooltip(name, type="nominal", title=title)


def colours(name: str, keys: Sequence[Key]) -> alt.Color:
    """Return the colouring of a column by the entries of a legend, which the page
    shows."""
    scale = alt.Scale(domain=[k.label for k in keys], range=[k.colour for k in keys])
    return alt.Color(name, type="nominal", scale=scale, legend=None)


def palette_keys(labels: Sequence[str]) -> list[Key]:
    """Return a legend of lines; the palette repeats with dashed lines."""
    size = len(PALETTE)
    return [
        Key(label, PALETTE[n % size], "dash" if n // size % 2 else "line")
        for n, label in enumerate(labels)
    ]


def dashes(name: str, keys: Sequence[Key]) -> alt.StrokeDash:
    """Return the dashing of lines by the entries of a legend."""
    patterns = [[5, 3] if key.shape == "dash" else [1, 0] for key in keys]
    scale = alt.Scale(domain=[key.label for key in keys], range=patterns)
    return alt.StrokeDash(name, type="nominal", scale=scale, legend=None)


def phase_keys(names: Sequence[str]) -> list[Key]:
    """Return the legend of phases."""
    return [Key(name, PHASE_COLOURS[name]) for name in names]

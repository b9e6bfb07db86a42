"""The charts of a report as files, for papers and slides."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import pandas as pd

from netsim.core.files import require_own, write_atomically
from netsim.report.page import Chart, Page

MARK = b'class="marks"'  # in every drawing of Vega
WIDTH_PX = 640
SQUARE_PX = 400
LEGEND = {"orient": "top", "title": None, "labelLimit": 300, "symbolOpacity": 1}
AXIS = {"titleFontWeight": "normal", "gridColor": "var(--grid)", "labelAngle": 0}
CONFIG = {
    "font": "Helvetica, Arial, sans-serif",
    "background": "white",
    "view": {"stroke": None},
    "title": {"anchor": "start", "subtitleColor": "var(--muted)"},
    "axis": AXIS,
    "axisX": {"grid": False, "labelOverlap": True},
}


def write_pictures(page: Page, folder: Path) -> list[Path]:
    """Write every chart of a page as SVG, in the light theme's colours and as its
    choosers stand at first; return the paths."""
    import vl_convert

    charts = [b for s in page.sections for b in s.blocks if isinstance(b, Chart)]
    paths = [folder / f"{chart.name}.svg" for chart in charts]
    for path in paths:
        require_own(path, MARK, option="--pictures")
    folder.mkdir(parents=True, exist_ok=True)
    for path, chart in zip(paths, charts, strict=True):
        svg: str = vl_convert.vegalite_to_svg(standalone(chart))
        write_atomically(path, svg.encode())
    return paths


def standalone(chart: Chart) -> dict[str, object]:
    """Return a chart's specification with data, legend, size and colours in it."""
    frames = {name: _chosen(chart, frame) for name, frame in chart.frames.items()}
    spec: dict[str, object] = copy.deepcopy(dict(chart.spec))
    spec |= {"width": WIDTH_PX, "title": _title(chart)}
    if chart.is_square:
        spec |= {"width": SQUARE_PX, "height": SQUARE_PX}
    if chart.row_field:
        spec["height"] = _num_rows(chart.row_field, frames) * chart.row_px
    shown = {key.label for key in chart.legend}
    for encoding, labels in _colour_encodings(spec):
        known = [label for label in labels if label in shown]
        encoding["legend"] = {**LEGEND, "values": known}
    spec["config"] = CONFIG
    datasets = {
        name: json.loads(f.to_json(orient="records")) for name, f in frames.items()
    }
    text = json.dumps({**spec, "datasets": datasets})
    found: dict[str, object] = json.loads(_painted(text))
    return found


def _num_rows(field: str, frames: Mapping[str, pd.DataFrame]) -> int:
    """Return how many rows a chart has; one at least."""
    seen = {value for f in frames.values() if field in f for value in f[field]}
    return max(1, len(seen))


def _title(chart: Chart) -> dict[str, str]:
    """Return the title, with the choosers' values below it."""
    said = [f"{c.title.lower()}: {c.labels[c.start]}" for c in chart.choosers]
    return {"text": chart.title, "subtitle": ", ".join(said)}


def _chosen(chart: Chart, frame: pd.DataFrame) -> pd.DataFrame:
    for chooser in chart.choosers:
        if chooser.column in frame:
            frame = frame[frame[chooser.column] == chooser.start]
    return frame


def _colour_encodings(spec: object) -> Iterator[tuple[dict[str, object], list[str]]]:
    """Yield the encodings of words by colours, with the words."""
    if isinstance(spec, list):
        for item in spec:
            yield from _colour_encodings(item)
    elif isinstance(spec, dict):
        colour = spec.get("color")
        if isinstance(colour, dict) and "range" in colour.get("scale", {}):
            yield colour, colour["scale"]["domain"]
        for item in spec.values():
            yield from _colour_encodings(item)


def _painted(text: str) -> str:
    """Return a specification with the page's light colours in place of their names."""
    colours = light_colours()
    return re.sub(r"var\((--[a-z0-9]+)\)", lambda found: colours[found[1]], text)


def light_colours() -> Mapping[str, str]:
    """Return the light theme's colours by their names in the page's styles."""
    css = files("netsim.report").joinpath("page.css").read_text(encoding="utf-8")
    light = css[: css.index("@media")]
    return dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6});", light))

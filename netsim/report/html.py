"""A page as one HTML file: text, styles, data, charts and their scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, StrictUndefined

from netsim.core.version import VERSION
from netsim.report.page import Chart, Page, Table
from netsim.report.spreadsheet import to_csv

SIGNIFICANT = 6  # digits of a number in a chart


def rendered(page: Page, drawing_script: str) -> str:
    """Return the whole file."""
    made = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters |= {"paired": _paired, "cells": _cells}
    made.tests |= {"chart": lambda it: isinstance(it, Chart), "numeric": _is_numeric}
    return made.from_string(_asset("page.html")).render(
        page=page,
        version=VERSION,
        style=_asset("page.css"),
        script=_asset("page.js"),
        drawing_script=drawing_script,
        store=_store(page),
    )


def _asset(name: str) -> str:
    return files("netsim.report").joinpath(name).read_text(encoding="utf-8")


def _paired(blocks: Sequence[Chart | Table]) -> list[Chart | Table]:
    """Return the blocks; one of half the width without a neighbour becomes wide."""
    found: list[Chart | Table] = []
    is_open = False  # the last one waits for another half
    for block in blocks:
        if is_open and block.is_wide:
            found[-1] = replace(found[-1], is_wide=True)
        is_open = not block.is_wide and not is_open
        found.append(block)
    if is_open:
        found[-1] = replace(found[-1], is_wide=True)
    return found


def _is_numeric(table: Table, name: str) -> bool:
    frame = table.frame
    return name in frame and pd.api.types.is_numeric_dtype(frame[name])


def _cells(table: Table) -> Iterator[list[tuple[str, object]]]:
    """Yield by row what each cell shows, and the number by which it is sorted."""
    shown = table.frame.reindex(columns=[column.name for column in table.columns])
    for row in shown.itertuples(index=False):
        yield [
            _cell(value, column.form)
            for column, value in zip(table.columns, row, strict=True)
        ]


def _cell(value: object, form: str) -> tuple[str, object]:
    if value is None or value is pd.NA or value != value:
        return "", None
    if isinstance(value, bool):
        return "yes" if value else "no", None
    return (value, None) if isinstance(value, str) else (format(value, form), value)


def _store(page: Page) -> str:
    """Return chart specifications, data and CSV files as JSON for a script element."""
    blocks = [block for section in page.sections for block in section.blocks]
    charts = [block for block in blocks if isinstance(block, Chart)]
    tables = [block for block in blocks if isinstance(block, Table)]
    store = {
        "charts": {
            chart.name: {
                "spec": chart.spec,
                "frames": list(chart.frames),
                "rows": [chart.row_field, chart.row_px],
            }
            for chart in charts
        },
        "frames": {
            name: _columns(frame)
            for chart in charts
            for name, frame in chart.frames.items()
        },
        "files": {
            table.name: to_csv(table.csv) for table in tables if table.csv is not None
        },
    }
    text = json.dumps(store, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _columns(frame: pd.DataFrame) -> dict[str, object]:
    """Return a frame by columns; texts are indices into a list of distinct texts."""
    return {str(name): _column(frame[name]) for name in frame.columns}


def _column(values: pd.Series) -> object:
    if not pd.api.types.is_string_dtype(values):
        return [_plain(value) for value in values.tolist()]
    codes, words = pd.factorize(values)
    return {"words": list(words), "codes": codes.tolist()}


def _plain(value: object) -> object:
    """Return a value of JSON, with as many digits as a chart can show."""
    if value is pd.NA or value is None:
        return None
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT}g}") if math.isfinite(value) else None
    return value

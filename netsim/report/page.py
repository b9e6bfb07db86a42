"""The parts of a report before it is a file: plain records, no drawing library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

Shape = Literal["line", "dash", "box", "dot", "ring"]
Spec = Mapping[str, object]  # of Vega-Lite


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend; the colour is one of the page's, as ``var(--c1)``."""

    label: str
    colour: str
    shape: Shape = "box"


@dataclass(frozen=True, slots=True)
class Chooser:
    """A list of a column's values: the chart shows the rows of the chosen one."""

    column: str
    title: str
    labels: Mapping[str | int, str]
    start: str | int


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture; its specification names the frames that it draws."""

    name: str
    title: str
    spec: Spec
    frames: Mapping[str, pd.DataFrame]
    legend: Sequence[Key] = ()
    choosers: Sequence[Chooser] = ()
    note: str = ""
    row_field: str = ""  # a row per value of this column makes the chart's height
    row_px: int = 0
    is_square: bool = False
    is_wide: bool = False  # else half of a wide screen


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and the format of its numbers."""

    name: str
    heading: str
    form: str = ""  # as for format(); empty for text and counts


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to read and to sort; ``csv`` is a frame that can be saved as a file."""

    name: str
    title: str
    frame: pd.DataFrame
    columns: Sequence[Column]
    csv: pd.DataFrame | None = None
    note: str = ""
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """One number in large print, its label and a note."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, sentences (`in backticks`: code), charts and tables."""

    title: str
    text: Sequence[str]
    blocks: Sequence[Chart | Table] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report; ``warnings`` come first, ``fold`` holds headings and plain texts
    that are folded at first."""

    title: str
    subtitle: str
    headline: Sequence[str]
    facts: Sequence[Fact]
    sections: Sequence[Section]
    warnings: Sequence[str] = ()
    fold: Mapping[str, str] = field(default_factory=dict)

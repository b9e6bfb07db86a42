"""A page as one HTML file: text, styles, data, charts and what draws them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files

import pandas as pd

from netsim.core.version import VERSION
from netsim.report.page import Chart, Chooser, Fact, Key, Page, Section, Table

# nothing may be fetched, from nowhere: whatever the page needs is in it
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:"
)
SIGNIFICANT = 6  # digits of a number in a chart


def rendered(page: Page, drawing_script: str) -> str:
    """Return the whole file."""
    title = escape(f"{page.title} · netsim report")
    body = "\n".join(_body(page))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n{body}\n"
        f'<script type="application/json" id="store">{_store(page)}</script>\n'
        f"<script>{drawing_script}</script>\n"
        f"<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return files("netsim.report").joinpath(name).read_text(encoding="utf-8")


def _body(page: Page) -> Iterator[str]:
    yield "<header>"
    yield f"<p class=kind>{escape(page.subtitle)}</p>"
    yield '<button id=theme type=button aria-label="light or dark">◐</button>'
    yield f"<h1>{escape(page.title)}</h1>"
    yield from (f"<p class=warning>{_text(text)}</p>" for text in page.warnings)
    yield from (f"<p class=headline>{escape(text)}</p>" for text in page.headline)
    yield _facts(page.facts)
    yield "</header>\n<nav>"
    for number, section in enumerate(page.sections):
        yield f'<a href="#s{number}">{escape(section.title)}</a>'
    yield "</nav>\n<main>"
    for number, section in enumerate(page.sections):
        yield from _section(section, number)
    for title, text in page.fold.items():
        yield f"<details><summary>{escape(title)}</summary>"
        yield f"<pre>{escape(text)}</pre></details>"
    yield f"</main>\n<footer>Made by netsim {VERSION} from the files of this "
    yield "folder; nothing in this page leaves it.</footer>"


def _facts(facts: Sequence[Fact]) -> str:
    tiles = (
        f"<div><b>{escape(fact.value)}</b><span>{escape(fact.label)}</span>"
        f"<small>{escape(fact.note)}</small></div>"
        for fact in facts
    )
    return f"<div class=facts>{''.join(tiles)}</div>"


def _section(section: Section, number: int) -> Iterator[str]:
    yield f'<section id="s{number}"><h2>{escape(section.title)}</h2>'
    yield from (f"<p>{_text(text)}</p>" for text in section.text)
    yield "<div class=blocks>"
    for block in _paired(section.blocks):
        yield from _chart(block) if isinstance(block, Chart) else _table(block)
    yield "</div></section>"


def _paired(blocks: Sequence[Chart | Table]) -> list[Chart | Table]:
    """Return the blocks; one of half the width with no half beside it becomes wide."""
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


def _chart(chart: Chart) -> Iterator[str]:
    name = escape(chart.name)
    kinds = " ".join(_kinds(chart))
    yield f'<figure class="{kinds}" id="f-{name}">'
    yield f"<figcaption>{escape(chart.title)}</figcaption>"
    yield from map(_chooser, chart.choosers)
    yield _legend(chart.legend)
    yield f'<div class=plot id="c-{name}"></div>'
    yield f"<p class=note>{_text(chart.note)}</p></figure>"


def _chooser(chooser: Chooser) -> str:
    options = "".join(
        f'<option value="{escape(str(value))}"'
        f"{' selected' if value == chooser.start else ''}>{escape(label)}</option>"
        for value, label in chooser.labels.items()
    )
    title = escape(chooser.title)
    return (
        f"<span class=chooser>{title} {_step(-1, '&larr;')}"
        f'<select aria-label="{title}" data-column="{escape(chooser.column)}">'
        f"{options}</select>{_step(1, '&rarr;')}</span>"
    )


def _step(by: int, sign: str) -> str:
    label = "one on" if by > 0 else "one back"
    return (
        f'<button type=button class=step data-step="{by}" aria-label="{label}">'
        f"{sign}</button>"
    )


def _kinds(block: Chart | Table) -> Iterator[str]:
    yield "wide" if block.is_wide else "half"
    if isinstance(block, Chart) and block.is_square:
        yield "square"


def _text(text: str) -> str:
    """Return a sentence; what stands between backticks is code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(parts))


def _legend(keys: Sequence[Key]) -> str:
    entries = (
        f'<span><i class={key.shape} style="--key:{escape(key.colour)}"></i>'
        f"{escape(key.label)}</span>"
        for key in keys
    )
    return f"<div class=legend>{''.join(entries)}</div>" if keys else ""


def _table(table: Table) -> Iterator[str]:
    name = escape(table.name)
    yield f'<figure class="{" ".join(_kinds(table))}" id="t-{name}">'
    yield f"<figcaption>{escape(table.title)}</figcaption><div class=scroll><table>"
    heads = "".join(
        f"<th{_side(table.frame, column.name)}><button type=button>"
        f"{escape(column.heading)}</button></th>"
        for column in table.columns
    )
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    shown = table.frame.reindex(columns=[column.name for column in table.columns])
    for row in shown.itertuples(index=False):
        cells = zip(table.columns, row, strict=True)
        yield f"<tr>{''.join(_cell(v, column.form) for column, v in cells)}</tr>"
    yield "</tbody></table></div>"
    yield "<p class=hint>More columns to the right: swipe or scroll.</p>"
    if table.csv is not None:
        yield (
            f'<button type=button class=save data-csv="{name}">'
            "Save the whole table as CSV</button>"
        )
    yield f"<p class=note>{_text(table.note)}</p></figure>"


def _side(frame: pd.DataFrame, name: str) -> str:
    is_number = name in frame and pd.api.types.is_numeric_dtype(frame[name])
    return " class=number" if is_number else ""


def _cell(value: object, form: str) -> str:
    if (
        value is None
        or value is pd.NA
        or (isinstance(value, float) and math.isnan(value))
    ):
        return "<td></td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if not isinstance(value, str):
        shown = format(value, form)
        return (
            f'<td class=number data-value="{escape(str(value))}">{escape(shown)}</td>'
        )
    return f"<td>{escape(value)}</td>"


def _store(page: Page) -> str:
    """Return specifications, data and tables to save, as JSON that ends no script."""
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
            table.name: table.csv.to_csv(index=False)
            for table in tables
            if table.csv is not None
        },
    }
    text = json.dumps(store, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _columns(frame: pd.DataFrame) -> dict[str, object]:
    """Return a frame by columns; texts are numbers into the list of those there are."""
    return {str(name): _column(frame[name]) for name in frame.columns}


def _column(values: pd.Series) -> object:
    if not pd.api.types.is_string_dtype(values):
        return [_plain(value) for value in values.tolist()]
    codes, words = pd.factorize(values)
    return {"words": list(words), "codes": codes.tolist()}


def _plain(value: object) -> object:
    """Return a value as JSON has it, with as many digits as a picture can show."""
    if value is pd.NA or value is None:
        return None
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT}g}") if math.isfinite(value) else None
    return value

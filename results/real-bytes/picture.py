"""Draw simulated against measured transfers.

python results/real-bytes/picture.py

Reads uploads.csv and rounds.csv in this folder, writes real-bytes.svg.
"""

from __future__ import annotations

from pathlib import Path

import altair as alt
import pandas as pd

HERE = Path(__file__).parent
MODELS = {"framed": "frames counted", "bare": "bytes alone"}
COLOURS = ("#0072B2", "#E69F00")  # safe for colour-blind eyes
SHAPES = ("circle", "triangle-up")


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its models in words and errors in per cent."""
    errors = [name for name in table.columns if name.endswith("_error")]
    table = table.assign(**{name: 100 * table[name] for name in errors})
    return table.assign(model=table.model.map(MODELS))


def model_colour() -> alt.Color:
    domain = list(MODELS.values())
    return alt.Color("model", title=None, scale=alt.Scale(domain=domain, range=COLOURS))


def completions(uploads: pd.DataFrame) -> alt.LayerChart:
    """Return simulated over measured completion of every upload, played once."""
    uploads = uploads[uploads.repeat == 1]
    domain = list(MODELS.values())
    points = (
        alt.Chart(uploads, width=280, height=280, title="uploads, first repeat")
        .mark_point(filled=True, size=14, opacity=0.5)
        .encode(
            alt.X("measured_end_s", title="measured (s after the round's start)"),
            alt.Y("simulated_end_s", title="simulated (s)"),
            model_colour(),
            alt.Shape(
                "model", title=None, scale=alt.Scale(domain=domain, range=SHAPES)
            ),
        )
    )
    top = float(uploads.measured_end_s.max())
    ends = pd.DataFrame({"s": [0.0, top]})
    line = alt.Chart(ends).mark_line(color="#555555", strokeDash=[4, 3])
    return line.encode(alt.X("s"), alt.Y("s")) + points


def spreads(table: pd.DataFrame, column: str, title: str) -> alt.Chart:
    """Return the distribution of an error by pattern."""
    patterns = list(dict.fromkeys(table.pattern))
    return (
        alt.Chart(table, width=260, height=alt.Step(13), title=title)
        .mark_boxplot(extent="min-max", size=9)
        .encode(
            alt.X(column, title="simulated over measured, less one (%)"),
            alt.Y("model", title=None, axis=None, sort=list(MODELS.values())),
            model_colour(),
            alt.Row(
                "pattern",
                title=None,
                sort=patterns,
                spacing=4,
                header=alt.Header(labelAngle=0, labelAlign="left"),
            ),
        )
    )


def main() -> None:
    uploads, rounds = (
        in_words(pd.read_csv(HERE / f"{name}.csv")) for name in ("uploads", "rounds")
    )
    is_fair = ~uploads.pattern.str.contains("one queue")
    panels = (
        completions(uploads[is_fair]),
        spreads(uploads[is_fair], "completion_error", "completion of an upload"),
        spreads(rounds, "round_error", "length of a round"),
    )
    alt.hconcat(*panels).save(HERE / "real-bytes.svg")


if __name__ == "__main__":
    main()

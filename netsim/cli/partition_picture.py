"""The picture of a partition: a bar per client, labels stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa

from netsim.report.libraries import NOT_INSTALLED, altair_if_installed

MAX_CLIENTS: Final = 200
MAX_COLOURS: Final = 20


def draw(table: pa.Table, path: Path) -> str:
    """Write the picture where altair is installed; return its path, or why not."""
    altair = altair_if_installed()
    if altair is None:
        return NOT_INSTALLED
    rows = [row for row in table.to_pylist() if row["client_id"] < MAX_CLIENTS]
    num_labels = 1 + max(row["label"] for row in rows)
    is_named = num_labels <= MAX_COLOURS
    scheme = "tableau20" if is_named else "turbo"
    label = altair.Color(
        "label:O" if is_named else "label:Q",
        scale=altair.Scale(scheme=scheme),
        title="label",
    )
    chart = altair.Chart(altair.Data(values=rows), width=640, height=260)
    chart = chart.mark_bar().encode(
        x=altair.X("client_id:O", title="client", axis=altair.Axis(labelOverlap=True)),
        y=altair.Y("num_samples:Q", title="training samples"),
        color=label,
        order=altair.Order("label:Q"),
        tooltip=["client_id:O", "label:O", "num_samples:Q"],
    )
    chart.save(str(path))
    return str(path)

"""The picture of a plan: who takes part how often, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from netsim.report.libraries import NOT_INSTALLED, altair_if_installed

MAX_POINTS: Final = 5000
COLUMNS: Final = (
    "compute_s",
    "upload_alone_s",
    "sampling_probability",
    "rank",
    "limited_by",
)
COLOURS: Final = {  # Okabe and Ito: safe for colour-blind eyes
    "compute": "#E69F00",
    "deadline": "#CC79A7",
    "memory": "#0072B2",
    "uplink": "#009E73",
}


def draw(plan: pa.Table, totals_s: Mapping[str, float], folder: Path) -> str:
    """Write ``plan.svg`` where altair is installed; return its path, or why not."""
    altair = altair_if_installed()
    if altair is None:
        return NOT_INSTALLED
    clients = altair.Chart(altair.Data(values=_points(plan)), width=320, height=260)
    clients = clients.mark_circle(opacity=0.6).encode(
        x=altair.X("alone_s:Q", title="compute and upload alone (s)"),
        y=altair.Y("sampling_probability:Q", title="sampling probability"),
        size=altair.Size("rank:Q", legend=altair.Legend(orient="bottom")),
        color=altair.Color(
            "limited_by:N",
            scale=altair.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
            legend=altair.Legend(orient="bottom", title="limited by"),
        ),
    )
    values = [{"plan": name, "total_s": total} for name, total in totals_s.items()]
    times = altair.Chart(altair.Data(values=values), width=240, height=260)
    times = times.mark_bar(color="#56B4E9").encode(
        x=altair.X("total_s:Q", title="predicted time to target (s)"),
        y=altair.Y("plan:N", sort=None, title=None),
    )
    path = folder / "plan.svg"
    altair.hconcat(clients, times).save(str(path))
    return str(path)


def _points(plan: pa.Table) -> list[dict[str, object]]:
    """Return all clients, or ``MAX_POINTS`` of them at even distances."""
    rows = np.linspace(0, len(plan) - 1, min(len(plan), MAX_POINTS)).round()
    points = plan.select(list(COLUMNS)).take(rows.astype(int)).to_pylist()
    return [
        one | {"alone_s": one["compute_s"] + one["upload_alone_s"]} for one in points
    ]

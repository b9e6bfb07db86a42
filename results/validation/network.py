"""Draw the errors of simulated messages, by pattern of ns-3 and by recorded trace.

pip install -c constraints.txt -e '.[report]'
python results/validation/network.py results/validation/network.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import altair as alt
import pandas as pd

HERE = Path(__file__).parent
RECORDED = HERE.parent / "real-bytes" / "recorded.csv"


def of_ns3() -> pd.DataFrame:
    """Return the errors of messages in ns-3's cell with buffers of today."""
    rows = pd.read_csv(HERE / "ns3" / "phones.csv").dropna(subset="error")
    rows = rows[rows.buffers == "today"]
    return pd.DataFrame(
        {
            "group": "ns-3: " + rows.pattern,
            "error": rows.error,
            "kind": rows.scheduler,
        }
    )


def of_traces() -> pd.DataFrame:
    """Return the errors of completions over links that follow a recorded trace."""
    rows = pd.read_csv(RECORDED)
    names = rows.trace.str.replace(".up", "", regex=False)
    return pd.DataFrame(
        {
            "group": "trace: " + names,
            "error": rows.completion_error,
            "kind": rows.queue
            + (rows.queue == "fair").map({True: " queues", False: " queue"}),
        }
    )


def picture(rows: pd.DataFrame) -> alt.Chart:
    """Return one tick per message; beyond 50 % at the edge."""
    rows = rows.assign(shown=rows.error.clip(-0.5, 0.5))
    return (
        alt.Chart(rows, width=520, height=alt.Step(14))
        .mark_tick(thickness=1.2, opacity=0.5)
        .encode(
            alt.X("shown", title="simulated over measured, less one").axis(format="%"),
            alt.Y("group", title=None, sort=list(dict.fromkeys(rows.group))),
            alt.YOffset("kind"),
            alt.Color("kind", legend=alt.Legend(orient="top", title=None)),
        )
    )


if __name__ == "__main__":
    picture(pd.concat([of_ns3(), of_traces()])).save(sys.argv[1])

"""Draw a run: accuracy over simulated time, and the clients' phases in its first
rounds.

pip install -c constraints.txt -e '.[report]'
netsim run quickstart --out results/runs/quickstart
python results/quickstart/picture.py results/runs/quickstart results/quickstart/run.svg
"""

from __future__ import annotations

import sys

import altair as alt
import pandas as pd

from netsim import load_run

NUM_ROUNDS_SHOWN = 3
PHASES = ("download", "compute", "upload")
COLOURS = ("#56B4E9", "#E69F00", "#009E73")  # Okabe and Ito: safe for colour-blind eyes


def phases(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return one row per client and phase of the first rounds, in seconds."""
    first = tasks[tasks.round_id <= NUM_ROUNDS_SHOWN]
    ends = {"download": "download_end", "compute": "compute_end", "upload": "end"}
    return pd.concat(
        pd.DataFrame(
            {
                "client": first.client_id,
                "phase": phase,
                "start": first[f"{phase}_start_ns"].astype("int64") / 1e9,
                "end": first[f"{ends[phase]}_ns"].astype("int64") / 1e9,
            }
        )
        for phase in PHASES
    )


def picture(folder: str) -> alt.VConcatChart:
    """Return both charts of a run."""
    run = load_run(folder)
    evals = run.evals.assign(seconds=run.evals.time_ns / 1e9)
    evals = evals[["seconds", "accuracy"]]
    accuracy = (
        alt.Chart(evals, width=640, height=200)
        .mark_line(point=True, color="#0072B2")
        .encode(
            alt.X("seconds", title="simulated time (s)"),
            alt.Y("accuracy", title="test accuracy", scale=alt.Scale(zero=False)),
        )
    )
    gantt = (
        alt.Chart(phases(run.tasks), width=640, height=220)
        .mark_bar()
        .encode(
            alt.X("start", title=f"simulated time (s), rounds 1 to {NUM_ROUNDS_SHOWN}"),
            alt.X2("end"),
            alt.Y("client:O", title="client"),
            alt.Color(
                "phase",
                sort=PHASES,
                scale=alt.Scale(domain=PHASES, range=COLOURS),
                legend=alt.Legend(orient="top", title=None),
            ),
        )
    )
    return alt.vconcat(accuracy, gantt).resolve_scale(x="independent")


if __name__ == "__main__":
    picture(sys.argv[1]).save(sys.argv[2])

"""Draw the predicted time to target over a uniform sampling probability.

    pip install -c constraints.txt -e '.[report]'
    python results/policy/uniform_q.py results/policy/uniform-q.svg

The fleet of the shipped scenario network-only: round times by Monte Carlo under three
sharing rules, rounds by the surrogate (100 at full participation), learning off. The
best probabilities go to standard output.
"""

from __future__ import annotations

import sys

import altair as alt
import numpy as np
import pandas as pd

from netsim.core.streams import stream
from netsim.cosim.plan_problem import Assumptions, Task, build_task
from netsim.cosim.reading import read_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.policy.problem import Choice
from netsim.policy.solver import score

RULES = ("equal-fixed", "equal-finish", "processor-sharing")
COLOURS = ("#D55E00", "#E69F00", "#0072B2")  # Okabe and Ito
NUM_ROUNDS = 20_000
LEVELS = np.geomspace(0.05, 1.0, 25)


def sweep(scenario: Scenario, task: Task, sharing: str) -> pd.DataFrame:
    """Return one row per probability, times in seconds."""
    num_clients = len(task.problem)
    index = np.zeros(num_clients, dtype=np.int8)
    choices = [
        Choice(probabilities=np.full(num_clients, q), rank_index=index) for q in LEVELS
    ]
    found = score(
        task.problem,
        task.surrogate,
        choices,
        sharing=sharing,
        rng=stream(scenario.seed, "uniform-q"),
        num_rounds=NUM_ROUNDS,
    )
    return pd.DataFrame(
        {
            "sharing": sharing,
            "q": LEVELS,
            "round_s": [one.round_s.mean_s for one in found],
            "rounds": [one.rounds for one in found],
            "total_s": [one.total_s for one in found],
        }
    )


def picture(table: pd.DataFrame) -> alt.LayerChart:
    """Return one line per rule, and a dot where it is lowest."""
    best = table.loc[table.groupby("sharing").total_s.idxmin()]
    x = alt.X("q", title="uniform sampling probability")
    x = x.scale(type="log", domain=(LEVELS[0], LEVELS[-1]), nice=False)
    y = alt.Y("total_s", title="predicted time to target (s)")
    y = y.scale(type="log", domain=(500, 5000), nice=False)
    colour = alt.Color(
        "sharing",
        scale=alt.Scale(domain=RULES, range=COLOURS),
        legend=alt.Legend(orient="top", title=None),
    )
    lines = alt.Chart(table, width=480, height=260).mark_line().encode(x, y, colour)
    dots = alt.Chart(best).mark_point(filled=True, size=80).encode(x, y, colour)
    return lines + dots


def main(path: str) -> None:
    scenario = read_scenario(find_scenario("network-only"))
    task = build_task(scenario, Assumptions())
    rows = [sweep(scenario, task, rule) for rule in RULES]
    table = pd.concat(rows, ignore_index=True)
    best = table.loc[table.groupby("sharing").total_s.idxmin()].set_index("sharing")
    full = table[table.q == LEVELS[-1]].set_index("sharing")
    best["full_total_s"] = full.total_s
    print(best.to_string(float_format="{:.4g}".format))
    picture(table).save(path)


if __name__ == "__main__":
    main(sys.argv[1])

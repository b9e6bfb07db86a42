"""The planner's predictions for each fleet.

python results/policy/foreseen.py
python results/policy/foreseen.py --set cell.uplink.radio.path=/where/recorded.up

Constants as pilots measured them on these data: beta/alpha 0.5 (all norms one), nu 1
(sketching is no better than sampling) and 0.65 (the mean of three seeds' pilots).
Writes foreseen.csv to this folder: geometric means over seeds of a plan's speed-up over
the best uniform probability, and over full participation.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from netsim.cli.planning import compare
from netsim.cosim.plan_problem import Assumptions, build_task
from netsim.cosim.reading import read_scenario

HERE = Path(__file__).parent
RATIO, EXPONENTS, MAX_WEIGHT = 0.5, (1.0, 0.65), 0.5


def times_s(overrides: list[str], nu: float) -> dict[str, float]:
    """Return the expected time of every plan, in the planner's own rounds."""
    scenario = read_scenario(HERE / "study.yaml", tuple(overrides))
    assumed = Assumptions(ratio=RATIO, nu=nu, max_weight=MAX_WEIGHT)
    rivals = compare(scenario, build_task(scenario, assumed))
    return {rival.name: rival.score.total_s for rival in rivals}


def main() -> None:
    study = yaml.safe_load((HERE / "policies.yaml").read_text())
    common = [*study["overrides"], *sys.argv[2:]]
    rows = []
    for fleet in study["axes"][0]["variants"]:
        for seed in study["seeds"]:
            for nu in EXPONENTS:
                found = times_s([*common, *fleet["overrides"], f"seed={seed}"], nu)
                for name, time_s in found.items():
                    names = {"fleet": fleet["name"], "seed": seed, "nu": nu}
                    rows.append({**names, "plan": name})
                    rows[-1]["over_uniform"] = np.log(found["uniform q"] / time_s)
                    rows[-1]["over_full"] = np.log(found["full participation"] / time_s)
    groups = pd.DataFrame(rows).groupby(["fleet", "nu", "plan"], sort=False)
    table = np.exp(groups[["over_uniform", "over_full"]].mean()).round(3)
    table.reset_index().to_csv(HERE / "foreseen.csv", index=False)
    print(table.unstack("plan").T.to_string())


if __name__ == "__main__":
    main()

"""What a wrong ratio costs: plans made with it, timed under the true one.

python results/policy/regret.py

Two fleets of fifty, four true ratios, three seeds; a plan assumes a third to three
times the truth, with the clients' norms known or all one. Writes regret.csv to this
folder: means and maxima of the time over that of the plan that knows all, and of the
best uniform probability over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from netsim.cosim.plan_problem import Assumptions, build_task
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.policy.planner import Planner
from netsim.policy.problem import Choice, at_top_rank
from netsim.policy.solver import score
from netsim.server.policies.basis import assumed_law

FLEETS = {
    "wide": (),
    "uplink-bound": (
        "cell.uplink.band=500 kHz",
        "cell.uplink.radio.reference_band=500 kHz",
        "population.speed_spread={kind: log-normal, sigma: 0.5}",
    ),
}
RATIOS, FACTORS, SEEDS = (0.03, 0.1, 0.3, 1.0), (1 / 3, 0.5, 1.0, 2.0, 3.0), (1, 2, 3)
SPREAD = 0.5  # of the logarithms of norms
SHARING = "processor-sharing"


class Fleet:
    """A drawn fleet with norms, at full rank."""

    def __init__(self, overrides: tuple[str, ...], seed: int) -> None:
        scenario = read_scenario(
            find_scenario("wide-fleet"), (f"seed={seed}", *overrides)
        )
        problem = at_top_rank(build_task(scenario, Assumptions()).problem)
        self.weights = problem.data_weights.astype(float)
        norms2 = np.random.default_rng(seed).lognormal(0, SPREAD, len(problem))
        self.norms2 = norms2 * (self.weights**2).sum() / (self.weights**2 @ norms2)
        self.planner = Planner(problem=problem, sharing=SHARING)

    def planned(self, ratio: float, norms2: np.ndarray) -> np.ndarray:
        """Return the probabilities of a plan with these constants."""
        law = assumed_law(self.weights, ratio, 1.0)
        rng = np.random.default_rng(5)
        return self.planner.decide(norms2, law, rng).probabilities

    def time_s(self, probabilities: np.ndarray, ratio: float) -> float:
        """Return the expected time under the true constants."""
        problem = replace(self.planner.problem, norms2=self.norms2)
        top = problem.is_allowed.argmax(axis=1).astype(np.int8)
        q = np.maximum(probabilities, problem.floors)
        (found,) = score(
            problem,
            assumed_law(self.weights, ratio, 1.0),
            [Choice(probabilities=q, rank_index=top)],
            sharing=SHARING,
            rng=np.random.default_rng(6),
            num_rounds=1024,
        )
        return found.total_s


def rows() -> Iterator[dict[str, object]]:
    """Yield the regret of each fleet, seed, true ratio and factor on it."""
    for name, overrides in FLEETS.items():
        for seed in SEEDS:
            fleet = Fleet(overrides, seed)
            ones = np.ones(len(fleet.weights))
            for ratio in RATIOS:
                best_s = fleet.time_s(fleet.planned(ratio, fleet.norms2), ratio)
                swept = [
                    fleet.time_s(q * ones, ratio) for q in np.geomspace(0.03, 1, 20)
                ]
                for factor in FACTORS:
                    own = fleet.planned(ratio * factor, fleet.norms2)
                    flat = fleet.planned(ratio * factor, ones)
                    yield {
                        "fleet": name,
                        "assumed_over_true": round(factor, 3),
                        "regret": fleet.time_s(own, ratio) / best_s - 1,
                        "regret_norms_one": fleet.time_s(flat, ratio) / best_s - 1,
                        "regret_uniform": min(swept) / best_s - 1,
                    }


def main() -> None:
    table = pd.DataFrame(rows()).groupby(["fleet", "assumed_over_true"], sort=False)
    found = table.agg(["mean", "max"]).round(3)
    found.columns = ["_".join(column) for column in found.columns]
    found.to_csv(Path(__file__).parent / "regret.csv")
    print(found.to_string())


if __name__ == "__main__":
    main()

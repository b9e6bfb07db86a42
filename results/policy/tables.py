"""From runs.csv: speed-ups with intervals, predicted against simulated, fitted nu.

pip install 'netsim-fl[report]'
python results/policy/study.py results/studies/policy
python results/policy/tables.py results/studies/policy

Writes speedups.csv, calibration.csv, speedups.svg and calibration.svg beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
from study import run_of

HERE = Path(__file__).parent
NUM_RESAMPLES = 10_000
KINDS = {"time_s": "pilots charged", "time_without_pilots_s": "pilots free"}


def tuned_uniform(runs: pd.DataFrame) -> dict[str, str]:
    """Return per fleet the uniform arm with the least mean time to target."""
    uniform = runs[runs.arm.str.fullmatch(r"uniform q [\d.]+")]
    means = uniform.groupby(["fleet", "arm"]).time_s.mean()
    return {fleet: means[fleet].idxmin() for fleet in means.index.levels[0]}


def interval(logs: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a geometric mean over seeds."""
    drawn = rng.choice(logs, (NUM_RESAMPLES, len(logs)))
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return float(np.exp(low)), float(np.exp(high))


def speedups(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how much sooner each arm meets the target than tuned uniform sampling,
    paired by seed; an arm that missed it in some seed has no figure."""
    rng = np.random.default_rng(1)
    rows = []
    for fleet, baseline in tuned_uniform(runs).items():
        here = runs[runs.fleet == fleet].set_index(["arm", "seed"])
        for arm in runs.arm.unique():
            for column, kind in KINDS.items():
                ratio = here.loc[baseline].time_s / here.loc[arm][column]
                logs = np.log(ratio.to_numpy())
                low, high = interval(logs, rng)
                rows.append(
                    {
                        "fleet": fleet,
                        "arm": arm,
                        "kind": kind,
                        "baseline": baseline,
                        "time_s": here.loc[arm][column].mean(),
                        "speedup": float(np.exp(logs.mean())),
                        "low": low,
                        "high": high,
                        "num_seeds": int(np.isfinite(logs).sum()),
                    }
                )
    return pd.DataFrame(rows)


def calibration(runs: pd.DataFrame) -> pd.DataFrame:
    """Return promised and simulated rounds and seconds to the planned loss."""
    known = runs.dropna(subset=["predicted_s", "simulated_s"]).copy()
    known["error_s"] = known.predicted_s / known.simulated_s - 1
    known["error_rounds"] = known.predicted_rounds / known.simulated_rounds - 1
    known["error_round_time"] = (1 + known.error_s) / (1 + known.error_rounds) - 1
    names = ["fleet", "arm", "seed", "predicted_rounds", "simulated_rounds"]
    names += ["predicted_s", "simulated_s"]
    return known[[*names, "error_rounds", "error_round_time", "error_s"]]


def fitted_nu(study: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the exponent of ``r / k`` that each joint run measured."""
    rows = []
    for fleet in runs.fleet.unique():
        for seed in runs.seed.unique():
            estimates = run_of(study, fleet, "joint", seed).estimates
            nu = estimates[estimates.name == "nu"].iloc[0]
            rows.append(
                {
                    "fleet": fleet,
                    "seed": seed,
                    "nu": nu.value,
                    "standard_error": nu.standard_error,
                }
            )
    return pd.DataFrame(rows)


def speedup_picture(table: pd.DataFrame) -> alt.FacetChart:
    base = alt.Chart(table, width=260, height=300)
    points = base.mark_point(filled=True, size=50).encode(
        alt.X("speedup", title="times sooner than tuned uniform sampling"),
        alt.Y("arm", sort=list(table.arm.unique()), title=None),
        alt.Color("kind", title=None),
        alt.YOffset("kind"),
    )
    bars = base.mark_rule().encode(
        alt.X("low", title="times sooner than tuned uniform sampling"),
        alt.X2("high"),
        alt.Y("arm", sort=list(table.arm.unique())),
        alt.Color("kind"),
        alt.YOffset("kind"),
    )
    line = base.mark_rule(strokeDash=[4, 4], color="gray").encode(x=alt.datum(1.0))
    return (points + bars + line).facet(column=alt.Column("fleet", title=None))


def calibration_picture(table: pd.DataFrame) -> alt.LayerChart:
    most = float(table[["predicted_s", "simulated_s"]].max().max())
    ends = pd.DataFrame({"simulated_s": [0.0, most], "predicted_s": [0.0, most]})
    same = (
        alt.Chart(ends).mark_line(color="gray").encode(x="simulated_s", y="predicted_s")
    )
    points = (
        alt.Chart(table, width=360, height=300)
        .mark_point(filled=True, size=60)
        .encode(
            alt.X("simulated_s", title="simulated time to the planned loss (s)"),
            alt.Y("predicted_s", title="predicted (s)"),
            alt.Color("arm", title=None),
            alt.Shape("fleet", title=None),
        )
    )
    return same + points


def main() -> None:
    runs = pd.read_csv(HERE / "runs.csv")
    table = speedups(runs)
    table.round(4).to_csv(HERE / "speedups.csv", index=False)
    speedup_picture(table).save(HERE / "speedups.svg")
    print(table.round(2).to_string(index=False))
    known = calibration(runs)
    known.round(4).to_csv(HERE / "calibration.csv", index=False)
    calibration_picture(known).save(HERE / "calibration.svg")
    errors = known[["error_rounds", "error_round_time", "error_s"]].abs()
    print("mean absolute errors\n", errors.groupby(known.fleet).mean().round(3))
    nu = fitted_nu(Path(sys.argv[1]), runs)
    nu.round(4).to_csv(HERE / "nu.csv", index=False)
    print(nu.round(2).to_string(index=False))


if __name__ == "__main__":
    main()

"""Joint sampling and sketching with every merge: curves, costs of the target, fronts.

pip install -c constraints.txt -e '.[report]'
netsim study results/both/both.yaml --out results/studies/both
python results/both/both.py results/studies/both

Writes costs.csv, speedups.csv, merges.csv and two pictures to this folder, and the
tables of README.md to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

import netsim
from netsim.study import folder_name

HERE = Path(__file__).parent
LEVELS = ("accuracy 0.8", "accuracy 0.9")
COSTS = ("time_s", "energy_j", "megabytes")
ARM = ["design", "merge"]
NUM_RESAMPLES = 10_000
HORIZON_S, STEP_S = 14.0, 0.1


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """Return seconds, joules and bytes in both directions, per run and target that it
    reached."""
    done = table[table.status == "complete"].copy()
    bits = done.upload_bits + done.download_bits
    found = done[[*ARM, "seed", "target", "rounds", "final_accuracy"]].copy()
    found["time_s"] = done.time_ns.astype(float) / 1e9
    found["energy_j"] = done.energy_j
    found["megabytes"] = bits.astype(float) / 8e6
    found["upload_megabytes"] = done.upload_bits.astype(float) / 8e6
    found.loc[~done.is_reached.astype(bool), [*COSTS, "upload_megabytes"]] = np.nan
    found["digest"] = done.digest.str[:16]
    return found


def front(points: pd.DataFrame) -> pd.Series:
    """Return which points are on the Pareto front of all costs."""
    values = points[list(COSTS)].to_numpy(dtype=float)
    is_there = np.isfinite(values).all(axis=1)
    no_worse = (values[:, None, :] <= values[None, :, :]).all(axis=2)
    better = (values[:, None, :] < values[None, :, :]).any(axis=2)
    is_beaten = (no_worse & better & is_there[:, None]).any(axis=0)
    return pd.Series(is_there & ~is_beaten, index=points.index)


def with_fronts(found: pd.DataFrame) -> pd.DataFrame:
    """Return the costs, marked if on the front of their seed and target."""
    fronts = [front(part) for _, part in found.groupby(["target", "seed"])]
    return found.assign(is_on_front=pd.concat(fronts))


def means(found: pd.DataFrame) -> pd.DataFrame:
    """Return per target and arm the mean costs over seeds, where all met the target,
    and the front of these means."""
    groups = found.groupby(["target", *ARM], sort=False)
    table = groups[list(COSTS)].agg(lambda values: values.mean(skipna=False))
    table["num_fronts"] = groups.is_on_front.sum()
    table["num_met"] = groups.time_s.count()
    table = table.reset_index()
    parts = [front(part) for _, part in table.groupby("target")]
    return table.assign(is_on_front=pd.concat(parts))


def speedups(found: pd.DataFrame) -> pd.DataFrame:
    """Return per cost how many times cheaper each arm meets the target than the same
    design with FedIT: geometric mean over seeds and 95 % bootstrap interval."""
    wide = found.set_index(["target", *ARM, "seed"]).sort_index()
    rows = []
    for target, design, merge in wide.index.droplevel("seed").unique():
        own = wide.loc[target, design, merge]
        base = wide.loc[target, design, "FedIT"]
        for cost in COSTS:
            logs = np.log(base[cost] / own[cost]).to_numpy(dtype=float)
            drawn = np.random.default_rng(1).choice(logs, (NUM_RESAMPLES, len(logs)))
            low, high = np.exp(np.quantile(drawn.mean(axis=1), [0.025, 0.975]))
            names = {"target": target, "design": design, "merge": merge, "cost": cost}
            rows.append({**names, "ratio": np.exp(logs.mean()), "low": low})
            rows[-1]["high"] = high
    return pd.DataFrame(rows)


def accuracy(curves: pd.DataFrame) -> pd.DataFrame:
    """Return mean and range over seeds of the latest accuracy, on a grid of time."""
    grid = np.arange(0.0, HORIZON_S + STEP_S, STEP_S)
    rows = []
    for names, part in curves.groupby([*ARM, "seed"], sort=False):
        latest = np.searchsorted(part.time_ns.to_numpy() / 1e9, grid, "right") - 1
        values = part.accuracy.to_numpy()[np.maximum(latest, 0)]
        rows.append(pd.DataFrame({"time_s": grid, "accuracy": values}))
        rows[-1][[*ARM, "seed"]] = names
    joined = pd.concat(rows).groupby([*ARM, "time_s"], sort=False).accuracy
    return joined.agg(["mean", "min", "max"]).reset_index()


def curve_picture(shown: pd.DataFrame) -> alt.FacetChart:
    base = alt.Chart(shown, width=250, height=220)
    x = alt.X("time_s", title="simulated time (s)")
    y = alt.Scale(domain=[0.4, 1.0], clamp=True)
    lines = base.mark_line(strokeWidth=1.5).encode(
        x,
        alt.Y("mean", title="accuracy", scale=y),
        alt.Color("merge", sort=list(shown["merge"].unique()), title=None),
    )
    band = base.mark_area(opacity=0.12).encode(
        x, alt.Y("min", scale=y, title="accuracy"), alt.Y2("max"), alt.Color("merge")
    )
    column = alt.Column("design", title=None, sort=list(shown["design"].unique()))
    return (band + lines).facet(column=column)


def front_picture(found: pd.DataFrame) -> alt.HConcatChart:
    here = found[found.target == LEVELS[1]].dropna(subset=list(COSTS))
    charts = []
    for cost, title in (("energy_j", "energy (J)"), ("megabytes", "sent (MB)")):
        points = alt.Chart(here, width=320, height=260).mark_point(strokeWidth=1.5)
        charts.append(
            points.encode(
                alt.X("time_s", title="time to accuracy 0.9 (s)").scale(zero=False),
                alt.Y(cost, title=title).scale(zero=False),
                alt.Color("merge", sort=list(found["merge"].unique()), title=None),
                alt.Shape("design", title=None),
                alt.Size("is_on_front", title="on its seed's front").scale(
                    domain=[False, True], range=[25, 120]
                ),
            )
        )
    return charts[0] | charts[1]


def merge_errors(study: Path, found: pd.DataFrame) -> pd.DataFrame:
    """Return per arm the mean relative error of a merge, and the mean rank and number
    of those who took part."""
    rows = []
    for names in found[[*ARM, "seed"]].drop_duplicates().itertuples(index=False):
        folder = "+".join(map(folder_name, names[:2]))
        run = netsim.load_run(study / "runs" / folder / str(names.seed))
        merged = run.rounds[run.rounds.num_merged > 0]
        rows.append(
            {
                **names._asdict(),
                "relative_error": run.merges.relative_error.mean(),
                "mean_rank": run.tasks["rank"].mean(),
                "mean_clients": run.rounds.num_sampled.mean(),
                "largest_weight": run.tasks.weight.max(),
                "round_s": (run.rounds.end_ns - run.rounds.start_ns).mean() / 1e9,
                "num_rounds": len(merged),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    folder = Path(sys.argv[1])
    study = netsim.load_study(folder)
    found = with_fronts(costs(study.table))
    found.round(5).to_csv(HERE / "costs.csv", index=False)
    print(means(found).round(3).to_string(index=False), "\n")
    ratios = speedups(found)
    ratios.round(4).to_csv(HERE / "speedups.csv", index=False)
    print(ratios.round(2).to_string(index=False), "\n")
    errors = merge_errors(folder, found)
    errors.round(5).to_csv(HERE / "merges.csv", index=False)
    print(errors.drop(columns="seed").groupby(ARM, sort=False).mean().round(4))
    curve_picture(accuracy(study.curves)).save(HERE / "curves.svg")
    front_picture(found).save(HERE / "fronts.svg")


if __name__ == "__main__":
    main()

"""The runs of protocol.md, one after the other, each a row of evidence.csv.

python results/policy/evidence.py tuning --fleet "wide, 50" --minutes 30
python results/policy/evidence.py judging --fleet "wide, 50" --minutes 30

A second call goes on where the first ended. Time is that of this process's CPU.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

import netsim
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.learner.stop import Target
from netsim.scenario import UserCode
from netsim.study.design import Combination, combinations
from netsim.study.outcomes import first_met
from netsim.study.plan import read_study

HERE = Path(__file__).parent
TABLE = HERE / "evidence.csv"
TUNING, JUDGING = (101, 102, 103), tuple(range(1, 13))
KEYS = ["stage", "fleet", "arm", "rate", "seed"]
COLUMNS = [*KEYS, "time_s", "is_reached", "rounds", "accuracy", "area", "cpu_s"]
LEFT_BEHIND = 1.5  # times the best of its family on the first seed
DECADES = 2  # of time up to the fleet's horizon, for the area under accuracy


def family(arm: str) -> str:
    """Return an arm's name without its setting."""
    return arm.partition(":")[0]


def known(path: Path = TABLE) -> pd.DataFrame:
    """Return the rows so far."""
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(path).astype({"rate": "str"})


def stays(done: pd.DataFrame, fleet: str, arm: str, rate: str) -> bool:
    """Return whether a setting was near enough to the best of its family on the first
    tuning seed to be tried on the others."""
    own = done[(done.fleet == fleet) & (done.seed == TUNING[0])]
    own = own[own.arm.map(family) == family(arm)]
    times = own[own.is_reached].set_index(["arm", "rate"]).time_s
    return (arm, rate) in times and times[arm, rate] <= LEFT_BEHIND * times.min()


def chosen(done: pd.DataFrame, fleet: str) -> dict[str, tuple[str, str]]:
    """Return each family's arm and rate of the least geometric mean time, of those that
    met the target on every tuning seed."""
    own = done[(done.stage == "tuning") & (done.fleet == fleet)]
    groups = own.assign(family=own.arm.map(family)).groupby(["family", "arm", "rate"])
    means = groups.apply(
        lambda rows: (
            np.log(rows.time_s).mean()
            if rows.is_reached.all() and len(rows) == len(TUNING)
            else np.inf
        ),
        include_groups=False,
    )
    found = {}
    for name, rows in means.groupby("family"):
        if np.isfinite(rows.min()):
            _, arm, rate = rows.idxmin()
            found[name] = (arm, rate)
    return found


def due(
    stage: str, fleet: str, every: list[Combination], done: pd.DataFrame
) -> Iterator[tuple[Combination, int]]:
    """Yield the runs of a stage that are not in the table, seed by seed."""
    best = set(chosen(done, fleet).values())
    have = set(done[KEYS].itertuples(index=False, name=None))
    for seed in TUNING if stage == "tuning" else JUDGING:
        for one in every:
            setting = one.choice["arm"], one.choice["rate"]
            if one.choice["fleet"] != fleet or (stage, fleet, *setting, seed) in have:
                continue
            if stage == "judging":
                is_asked = setting in best
            else:
                is_asked = seed == TUNING[0] or stays(done, fleet, *setting)
            if is_asked:
                yield one, seed


def cap(done: pd.DataFrame, fleet: str, arm: str, seed: int) -> str | None:
    """Return the override that ends a tuning run at twice its family's best time."""
    own = done[(done.stage == "tuning") & (done.fleet == fleet) & (done.seed == seed)]
    own = own[own.is_reached & (own.arm.map(family) == family(arm))]
    return None if own.empty else f"stop.time={2 * own.time_s.min():.6g} s"


def played(path: Path, texts: list[str], limit: str | None) -> dict[str, object]:
    """Return the figures of one run, which may end before the fleet's horizon."""
    began_s = time.process_time()
    code = UserCode(searched=(HERE,))
    horizon_s = read_scenario(path, tuple(texts), code).stop.time_s
    texts = texts if limit is None else [*texts, limit]
    scenario = read_scenario(path, tuple(texts), code)
    target = scenario.stop.target
    assert target is not None
    assert horizon_s is not None
    with TemporaryDirectory() as folder:
        run_scenario(scenario, Path(folder) / "run")
        found = figures(netsim.load_run(Path(folder) / "run"), target, horizon_s)
    return found | {"cpu_s": round(time.process_time() - began_s, 1)}


def figures(
    run: netsim.runs.run.Run, target: Target, horizon_s: float
) -> dict[str, object]:
    """Return when a run met its target, or ended, with its accuracy on the test split
    then, and the mean of that accuracy over the logarithm of time up to the horizon;
    after a run's end it stays."""
    met = first_met(run, target)
    end = run.manifest.sim_time_ns, run.manifest.rounds
    time_ns, rounds = end if met is None else met
    evals = run.global_evals()
    accuracy = evals[evals.time_ns <= time_ns].accuracy.to_numpy()
    marks_s = np.geomspace(horizon_s / 10**DECADES, horizon_s, 500)
    ends_s = evals.time_ns.to_numpy()[: len(accuracy)] / 1e9
    places = np.searchsorted(ends_s, marks_s, side="right") - 1
    return {
        "time_s": round(time_ns / 1e9, 6),
        "is_reached": met is not None,
        "rounds": rounds,
        "accuracy": round(float(accuracy[-1]), 4),
        "area": round(float(accuracy[places].mean()), 4),
    }


def append(row: dict[str, object], path: Path = TABLE) -> None:
    """Add a row to the table."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stage", choices=("tuning", "judging"))
    parser.add_argument("--fleet", required=True)
    parser.add_argument("--minutes", type=float, default=60)
    asked = parser.parse_args()
    config, _ = read_study(HERE / "evidence.yaml")
    every = combinations(config)
    while time.process_time() < 60 * asked.minutes:
        done = known()
        found = next(due(asked.stage, asked.fleet, every, done), None)
        if found is None:
            break
        one, seed = found
        texts = [*config.overrides, *(o.text for o in one.overrides), f"seed={seed}"]
        is_tuning = asked.stage == "tuning"
        limit = cap(done, asked.fleet, one.choice["arm"], seed) if is_tuning else None
        row = played(find_scenario(config.scenario), texts, limit)
        append({"stage": asked.stage, **one.choice, "seed": seed, **row})
        print(asked.stage, *one.choice.values(), seed, row, flush=True)


if __name__ == "__main__":
    main()

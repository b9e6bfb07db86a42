"""Simulated time to accuracy 0.9: baselines, adaptive q, adaptive k, joint.

python results/policy/study.py                 # all 90 runs, about 12 minutes of CPU
python results/policy/study.py --seeds 1       # a third of them
python results/policy/study.py --only joint    # arms whose name holds the text

A finished run in results/runs/policy is not run again, so an interrupted study goes on
where it stopped. Writes runs.csv and summary.csv beside this file.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import pandas as pd

import netsim
from netsim.errors import InputError
from netsim.policy.pilots import Curve

HERE = Path(__file__).parent
RUNS = Path("results") / "runs" / "policy"
METRIC, LEVEL = "accuracy", 0.9

FLEETS = {
    "uplink-bound": (),
    "compute-bound": (
        "population.devices=[{device: {name: sensor-board, peak: 3 GFLOP/s, "
        "efficiency: 1, memory: 2 GB, compute_power: 3 W, idle_power: 1 W}}]",
        "cell.uplink.band=20 MHz",
        "cell.uplink.radio.reference_band=20 MHz",
    ),
}

ONE = "{probability: 0.2, rounds: 8}"
TWO = (
    "{probability: 0.2, rounds: 40, until_loss: 0.65}, "
    "{probability: 0.6, rounds: 30, until_loss: 0.65}"
)
THREE = f"{TWO}, {{probability: 0.4, rank: 3, rounds: 40, until_loss: 0.65}}"
NO_SAMPLING = "server.sampling=null"
NUM_EXPECTED = 4


def uniform(q: float) -> tuple[str, ...]:
    return (f"server.sampling={{kind: independent, probability: {q}}}",)


def adaptive(decides: str, pilots: str, *more: str) -> tuple[str, ...]:
    policy = f"{{kind: adaptive, decides: [{decides}], max_weight: 0.5, "
    return f"policy={policy}pilots: [{pilots}], resolve_every: 10}}", *more


def proportional(to: str, pilots: str = "") -> tuple[str, ...]:
    measured = f", pilots: [{pilots}]" if pilots else ""
    policy = f"kind: proportional, to: {to}, num_expected: {NUM_EXPECTED}{measured}"
    return f"policy={{{policy}}}", NO_SAMPLING


ARMS = {
    "full participation": ("server.sampling=full",),
    "uniform q 0.05": uniform(0.05),
    "uniform q 0.15": uniform(0.15),
    "uniform q 0.3": uniform(0.3),
    "uniform q 0.6": uniform(0.6),
    "uniform K": (f"server.sampling={{kind: uniform, num_drawn: {NUM_EXPECTED}}}",),
    "uniform q 0.3, rank 4": (*uniform(0.3), "ranks={kind: fixed, rank: 4}"),
    "data-weighted": (
        f"server.sampling={{kind: data-weighted, num_expected: {NUM_EXPECTED}}}",
    ),
    "system-only": proportional("system"),
    "statistics-only": proportional("statistics", ONE),
    "Luo weighted": proportional("statistics-per-time", ONE),
    "adaptive q, full k": adaptive("sampling", TWO, NO_SAMPLING),
    "uniform q 0.3, adaptive k": adaptive("ranks", THREE, *uniform(0.3)),
    "joint": adaptive("sampling, ranks", THREE, NO_SAMPLING),
    "joint, equal sharing": adaptive(
        "sampling, ranks", THREE, NO_SAMPLING, "cell.uplink.sharing=equal-fixed"
    ),
}


def finished(fleet: str, arm: str, seed: int) -> tuple[netsim.runs.Run, float]:
    """Return a run, made now or earlier, and the CPU seconds that it took now."""
    folder = RUNS / fleet / arm.replace(" ", "-").replace(",", "") / str(seed)
    try:
        run = netsim.load_run(folder)
        if run.manifest.status == "complete":
            return run, 0.0
    except InputError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    start_s = time.process_time()
    overrides = (f"seed={seed}", *FLEETS[fleet], *ARMS[arm])
    run = netsim.run(HERE / "study.yaml", *overrides, out=folder)
    return run, time.process_time() - start_s


def reached(run: netsim.runs.Run) -> dict[str, float]:
    """Return rounds and seconds of training until the loss that the plan is for."""
    if "loss" not in run.manifest.predicted:
        return {}
    trained = run.evals[run.evals.phase == "train"]
    numbers = trained.round_id - trained.round_id.iloc[0]
    seconds = (trained.time_ns - trained.time_ns.iloc[0]) / 1e9
    losses, level = tuple(trained.loss), run.manifest.predicted["loss"]
    rounds = Curve(rounds=tuple(numbers), losses=losses).crossing(level)
    time_s = Curve(rounds=tuple(seconds), losses=losses).crossing(level)
    if rounds is None or time_s is None:
        return {}
    return {"simulated_rounds": rounds.rounds, "simulated_s": time_s.rounds}


def row(fleet: str, arm: str, seed: int, cpu_s: float, run: netsim.runs.Run) -> dict:
    """Return one line of runs.csv."""
    predicted = run.manifest.predicted
    charged = run.time_to(METRIC, LEVEL)
    free = run.time_to(METRIC, LEVEL, with_pilots=False)
    trained = run.rounds[run.rounds.phase == "train"]
    return {
        "fleet": fleet,
        "arm": arm,
        "seed": seed,
        "time_s": charged.total_seconds(),
        "time_without_pilots_s": free.total_seconds(),
        "pilot_s": run.manifest.pilot_time_ns / 1e9,
        "rounds": len(trained),
        "mean_clients": trained.num_sampled.mean(),
        "mean_rank": run.tasks[run.tasks.round_id > run.manifest.pilot_rounds][
            "rank"
        ].mean(),
        "final_accuracy": run.manifest.final["accuracy"],
        "predicted_rounds": predicted.get("rounds"),
        "predicted_s": predicted.get("time_s"),
        **reached(run),
        "cpu_s": round(cpu_s, 1),
        "digest": run.manifest.digest[:16],
    }


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors over seeds; of those that met the target."""
    groups = runs.groupby(["fleet", "arm"], sort=False)
    columns = ["time_s", "time_without_pilots_s"]
    found = groups[columns].agg(["mean", "sem"])
    found.columns = ["_".join(column) for column in found.columns]
    found["num_met"] = groups["time_s"].count()
    found["num_seeds"] = groups["seed"].count()
    return found.join(
        groups[["pilot_s", "rounds", "mean_clients", "mean_rank"]].mean()
    ).round(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    rows: list[dict] = []
    for seed in asked.seeds:
        for fleet in FLEETS:
            for arm in (name for name in ARMS if asked.only in name):
                run, cpu_s = finished(fleet, arm, seed)
                rows.append(row(fleet, arm, seed, cpu_s, run))
                now = rows[-1]
                print(
                    f"seed {seed} {fleet:<14} {arm:<26} {now['time_s']:8.2f} s, "
                    f"{now['pilot_s']:6.2f} s of it pilots, {now['rounds']:3d} rounds, "
                    f"CPU {cpu_s:.1f} s",
                    flush=True,
                )
                pd.DataFrame(rows).to_csv(HERE / "runs.csv", index=False)
    found = summary(pd.DataFrame(rows))
    found.to_csv(HERE / "summary.csv")
    print(found.to_string())


if __name__ == "__main__":
    main()

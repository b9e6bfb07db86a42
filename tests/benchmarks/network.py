"""The cost of simulating the network: CPU time and memory of growing scenarios.

    python tests/benchmarks/network.py [--csv network.csv] [--turns 3]

Three series without learning, with all rows written and digested: a growing population
of which a hundred take part, a growing number drawn from a hundred thousand, and a
growing number of simultaneous uploads on one band. Every case runs in its own process;
the result is the median of its turns, in CPU seconds, since the machine may be shared.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

BASE = "million"
POPULATIONS = (1_000, 10_000, 100_000, 1_000_000)
DRAWN = (10, 100, 1_000, 10_000)
CONCURRENCY = (1, 10, 100, 1_000, 10_000)
NUM_TASKS = 20_000  # of a case, about


@dataclass(frozen=True)
class Case:
    """One point of one series."""

    series: str
    num_clients: int
    num_drawn: int
    num_rounds: int


@dataclass(frozen=True)
class Cost:
    """The cost of a case: CPU seconds until the first round and per round, engine
    events per CPU second of rounds, peak memory of the process, and trace bytes of all
    events and of the population."""

    start_cpu_s: float
    round_cpu_ms: float
    task_cpu_us: float
    events_per_cpu_s: float
    peak_mb: float
    happened_bytes_per_task: float
    population_bytes_per_client: float


def cases() -> list[Case]:
    """Return all points of all series."""
    by_population = [Case("population", n, 100, 50) for n in POPULATIONS]
    by_drawn = [Case("drawn", 100_000, k, max(5, NUM_TASKS // k)) for k in DRAWN]
    concurrent = [
        Case("concurrency", k, k, max(5, NUM_TASKS // k)) for k in CONCURRENCY
    ]
    return by_population + [_capped(case) for case in by_drawn + concurrent]


def _capped(case: Case) -> Case:
    return Case(
        case.series, case.num_clients, case.num_drawn, min(case.num_rounds, 500)
    )


def overrides(case: Case) -> tuple[str, ...]:
    """Return the overrides that turn the shipped scenario into this case.

    Concurrent uploads start at the same tick, since computation takes no time; they
    have different channels, so that they end one by one.
    """
    found = (
        f"population.num_clients={case.num_clients}",
        f"server.sampling.num_drawn={case.num_drawn}",
        f"stop.rounds={case.num_rounds}",
    )
    if case.series == "concurrency":
        found += ("learning.compute=0 FLOP", "learning.download=0 B")
    return found


def measure(case: Case) -> Cost:
    """Return the cost of a case in this process, which has done nothing else."""
    from netsim.core.engine import Engine
    from netsim.cosim import world
    from netsim.cosim.reading import read_scenario
    from netsim.cosim.run import run_scenario
    from netsim.cosim.shipped import find_scenario

    engines = []

    class Noted(Engine):
        def __init__(self):
            super().__init__()
            engines.append(self)

    world.Engine = Noted
    marks_s = []
    scenario = read_scenario(find_scenario(BASE), overrides(case))
    start_s = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run_scenario(scenario, run, watch=lambda _: marks_s.append(time.process_time()))
        trace = {
            path.name: sum(part.stat().st_size for part in path.iterdir())
            for path in (run / "trace").iterdir()
        }
    rounds_s = marks_s[-1] - marks_s[0]
    num_tasks = case.num_drawn * case.num_rounds
    population_bytes = trace.pop("clients") + trace.pop("plans")
    return Cost(
        start_cpu_s=marks_s[0] - start_s,
        round_cpu_ms=rounds_s / case.num_rounds * 1e3,
        task_cpu_us=rounds_s / num_tasks * 1e6,
        events_per_cpu_s=next(engines[0]._eid) / rounds_s,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        happened_bytes_per_task=sum(trace.values()) / num_tasks,
        population_bytes_per_client=population_bytes / case.num_clients,
    )


def in_child(case: Case) -> Cost:
    """Return the cost of a case in a separate process."""
    command = [sys.executable, __file__, "--case", json.dumps(asdict(case))]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return Cost(**json.loads(found.stdout))


def median(costs: list[Cost]) -> Cost:
    """Return the median of every figure."""
    return Cost(
        **{
            one.name: statistics.median(getattr(cost, one.name) for cost in costs)
            for one in fields(Cost)
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", help="for the child")
    parser.add_argument("--csv")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(asdict(measure(Case(**json.loads(asked.case))))))
        return
    rows = []
    for case in cases():
        cost = median([in_child(case) for _ in range(asked.turns)])
        rows.append({**asdict(case), **asdict(cost)})
        print(
            *(
                f"{name}={value:.4g}" if isinstance(value, float) else value
                for name, value in rows[-1].items()
            ),
            flush=True,
        )
    if asked.csv:
        with open(asked.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()

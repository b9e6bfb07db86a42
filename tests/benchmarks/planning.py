"""CPU seconds and peak memory of planning against the size of the fleet.

    python tests/benchmarks/planning.py

First the joint solver alone, with six ranks and float32 tables, once under a
work-conserving rule and once under fixed equal shares; then the whole of ``netsim
plan`` on the scenario network-only. Each size runs in its own process, for its peak
memory. The search uses a sample, the last passes and Monte Carlo use all clients.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from netsim.cli.planning import plan
from netsim.policy.problem import Problem
from netsim.policy.solver import SAMPLE_SIZE, Prices, respond, search, solve, stratify
from netsim.policy.surrogate import Surrogate

SIZES = (1_000, 10_000, 100_000, 1_000_000)
RANKS = (1, 2, 4, 8, 16, 32)
NUM_EXPECTED = 100  # about so many uploads of full rank fill a minute of the band


def fleet(num_clients: int) -> Problem:
    """Return clients that differ in data, norms, speed and channel."""
    rng = np.random.default_rng(0)
    weights = rng.gamma(2.0, 1.0, num_clients).astype(np.float32)
    weights /= weights.sum(dtype=float)
    ranks = np.asarray(RANKS, dtype=np.float32)
    speed = rng.lognormal(0.0, 0.7, num_clients).astype(np.float32)[:, None]
    efficiency = rng.uniform(0.3, 7.0, num_clients).astype(np.float32)[:, None]
    bits = 1e6 + 3e5 * ranks
    return Problem(
        data_weights=weights,
        norms2=rng.lognormal(0.0, 1.0, num_clients).astype(np.float32),
        ranks=RANKS,
        global_rank=32,
        compute_s=5 / speed * (0.8 + 0.2 * ranks / 32),
        need_hz_s=bits / efficiency,
        bits=bits.astype(float),
        is_allowed=np.ones((num_clients, len(RANKS)), dtype=bool),
        band_hz=2e7,
        fixed_s=0.5,
        max_weight=float(weights.max()) * 20 * num_clients / 10_000,
    )


def measure_solver(num_clients: int) -> None:
    """Print one line of figures for the solver and a fleet of this size."""
    problem = fleet(num_clients)
    law = Surrogate(alpha=100.0 * NUM_EXPECTED, beta=20.0, nu=0.8)
    is_small = num_clients <= SAMPLE_SIZE
    searched = problem if is_small else stratify(problem, SAMPLE_SIZE)
    search_s = taken_s(lambda: search(searched, law))
    pass_s = taken_s(lambda: respond(problem, law, Prices(1.0, 0.0)))
    rng = np.random.default_rng(0)
    start_s = time.process_time()
    found = solve(problem, law, sharing="work-conserving", rng=rng)
    solved_s = time.process_time() - start_s
    fixed_s = taken_s(lambda: solve(problem, law, sharing="equal-fixed", rng=rng))
    print(
        f"{num_clients:>9,} | {solved_s:7.1f} | {fixed_s:8.1f} | {search_s:8.1f} | "
        f"{pass_s:6.3f} | {peak_gb():7.2f} | {found.sample_gap:+7.2%} | "
        f"{found.score.total_s / found.value.total_s:8.3f}"
    )


def measure_command(num_clients: int) -> None:
    """Print one line of figures for the whole command."""
    size = [f"population.num_clients={num_clients}"]
    with tempfile.TemporaryDirectory() as folder:
        out = io.StringIO()
        start_s = time.process_time()
        with contextlib.redirect_stdout(out):
            plan("network-only", size, out=Path(folder))
        took_s = time.process_time() - start_s
    print(f"{num_clients:>9,} | {took_s:7.1f} | {peak_gb():7.2f}")


def taken_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds that it took."""
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def peak_gb() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    print(
        "  clients | solve s | fixed s | search s | pass s | peak GB | gap | MC/bound"
    )
    alone(measure_solver)
    print("  clients | plan s | peak GB")
    alone(measure_command)


def alone(measure: Callable[[int], None]) -> None:
    """Measure every size in its own process."""
    spawn = multiprocessing.get_context("spawn")
    for num_clients in SIZES:
        worker = spawn.Process(target=measure, args=(num_clients,))
        worker.start()
        worker.join()


if __name__ == "__main__":
    main()

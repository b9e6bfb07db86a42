"""Seconds and peak memory of the joint solver against the size of the fleet.

    python tests/benchmarks/planning.py

Six ranks, float32 tables; each size runs in a process of its own, so that the peak is
its own. The search runs on a sample, the last passes and Monte Carlo on all clients.
"""

from __future__ import annotations

import multiprocessing
import resource
import time

import numpy as np

from netsim.policy.problem import Problem
from netsim.policy.solver import SAMPLE_SIZE, respond, search, solve, stratify
from netsim.policy.surrogate import Surrogate

SIZES = (10_000, 100_000, 1_000_000)
RANKS = (1, 2, 4, 8, 16, 32)
NUM_EXPECTED = 100  # about so many uploads of full rank fill a minute of the band


def fleet(num_clients: int) -> Problem:
    """Return clients who differ in data, norms, speed and channel."""
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


def measure(num_clients: int) -> None:
    """Print one line of figures for a fleet of this size."""
    problem = fleet(num_clients)
    law = Surrogate(alpha=100.0 * NUM_EXPECTED, beta=20.0, nu=0.8)
    start_s = time.perf_counter()
    prices = search(stratify(problem, SAMPLE_SIZE), law)
    searched_s = time.perf_counter()
    respond(problem, law, prices)
    passed_s = time.perf_counter()
    found = solve(problem, law, sharing="work-conserving", rng=np.random.default_rng(0))
    solved_s = time.perf_counter()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"{num_clients:>9,} clients: solve {solved_s - passed_s:5.1f} s "
        f"(stratify and search {searched_s - start_s:.1f} s, "
        f"one pass {passed_s - searched_s:.3f} s), peak {peak_gb:.2f} GB; "
        f"{found.choice.probabilities.sum():.0f} expected of {num_clients:,}, "
        f"sample gap {found.sample_gap:+.2%}, "
        f"Monte Carlo {found.score.total_s:.0f} s, bound {found.value.total_s:.0f} s"
    )


def main() -> None:
    spawn = multiprocessing.get_context("spawn")
    for num_clients in SIZES:
        worker = spawn.Process(target=measure, args=(num_clients,))
        worker.start()
        worker.join()


if __name__ == "__main__":
    main()

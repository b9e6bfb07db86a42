"""Plans of small fleets against all subsets of their clients, written out again."""

import itertools
from dataclasses import replace

import numpy as np

from netsim.policy.solver import solve
from netsim.policy.surrogate import Surrogate
from tests.support.fleets import fleet

LIMIT = 0.005  # above brute force
SHARINGS = ("equal-finish", "processor-sharing")


def wide(num_clients, seed):
    """Return clients whose speeds and channels differ by far more than usual."""
    problem, rng = fleet(num_clients, seed), np.random.default_rng(seed + 99)
    return replace(
        problem,
        compute_s=problem.compute_s * rng.lognormal(0, 1.5, num_clients)[:, None],
        need_hz_s=problem.need_hz_s * rng.lognormal(0, 1.2, num_clients)[:, None],
        band_hz=(5e5, 2e6, 8e6)[seed % 3],
        max_weight=20 * float(problem.data_weights.max()),
    )


def round_s(problem, kind, drawn, index):
    """Return one subset's round time: the latest start plus the work from then on, or
    the common end of fixed shares by bisection."""
    tau = problem.compute_s[drawn, index[drawn]]
    need_s = problem.need_hz_s[drawn, index[drawn]] / problem.band_hz
    if not len(tau):
        return 0.0
    if kind == "processor-sharing":
        return max(start + need_s[tau >= start].sum() for start in tau)
    low, high = tau.max(), tau.max() + need_s.sum()
    for _ in range(200):
        middle = (low + high) / 2
        is_late = middle <= tau.max() or (need_s / (middle - tau)).sum() > 1
        low, high = (middle, high) if is_late else (low, middle)
    return high


class Exact:
    """The time to the target for many probabilities (rows) at one choice of ranks."""

    def __init__(self, problem, law, kind, index):
        self.problem, self.law = problem, law
        coins = list(itertools.product((False, True), repeat=len(problem)))
        self.subsets = np.array(coins)
        index = np.asarray(index)
        self.times_s = np.array(
            [round_s(problem, kind, np.flatnonzero(one), index) for one in coins]
        )
        ratios = (8 / np.asarray(problem.ranks)[index]) ** law.nu
        self.gain = problem.moments * ratios

    def total_s(self, q):
        chances = np.where(self.subsets[None], q[:, None], 1 - q[:, None]).prod(2)
        rounds = self.law.beta + self.law.alpha * (self.gain / q).sum(1)
        seconds = self.problem.fixed_s + chances @ self.times_s
        return seconds * np.maximum(rounds, 1.0)

    def least_s(self, rng):
        """Return the least of 2,000 random points and of walks from the best few."""
        floors, num = self.problem.floors, len(self.problem)
        q = np.exp(np.log(floors) * rng.random((2000, num)))
        q = np.where(rng.random(q.shape) < 0.25, 1.0, q)
        q = np.where(rng.random(q.shape) < 0.2, floors, q)
        found_s = self.total_s(q)
        ways = np.vstack((np.eye(num), -np.eye(num), np.ones(num), -np.ones(num)))
        ends_s = []
        for place in found_s.argsort()[:4]:
            best, least_s, step = q[place], found_s[place], 0.5
            while step > 1e-3:
                tried = np.clip(best * np.exp(step * ways), floors, 1.0)
                tried_s = self.total_s(tried)
                if tried_s.min() < least_s:
                    best, least_s = tried[tried_s.argmin()], tried_s.min()
                else:
                    step *= 0.6
            ends_s.append(least_s)
        return min(ends_s)


def planned(kind, seed):
    """Return how far a plan is above brute force, and its promise from the truth."""
    num_clients = 3 + seed % 3
    problem = wide(num_clients, seed)
    law = Surrogate(alpha=60.0, beta=(-2.0, 5.0)[seed // 2 % 2], nu=(0.3, 1)[seed % 2])
    rng = np.random.default_rng(seed)
    least_s = min(
        Exact(problem, law, kind, index).least_s(rng)
        for index in itertools.product((0, 1), repeat=num_clients)
    )
    found = solve(problem, law, sharing=kind, rng=np.random.default_rng(0))
    exact = Exact(problem, law, kind, found.choice.rank_index)
    (reached_s,) = exact.total_s(found.choice.probabilities[None].astype(float))
    return reached_s / least_s - 1, abs(found.score.total_s / reached_s - 1)


def rows(num_plans, first=100):
    """Yield one row per sharing rule, each over half of the fleets."""
    for place, kind in enumerate(SHARINGS):
        numbers = range(first + place, first + num_plans, 2)
        figures = [max(planned(kind, seed)) for seed in numbers]
        wrong = sum(not figure <= LIMIT for figure in figures)
        yield "plans", kind, len(figures), max(figures), LIMIT, wrong

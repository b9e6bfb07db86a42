"""What a plan should show: when sketching pays, and that uniform q has a best value."""

from dataclasses import replace

import numpy as np
import pytest

from netsim.core.streams import stream
from netsim.cosim.plan_problem import Assumptions, build_task
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.policy import solver
from netsim.policy.problem import Choice, at_top_rank, value
from netsim.policy.surrogate import Surrogate
from tests.support.fleets import fleet, least_total_s

RANKS = (1, 2, 4, 8)
NUM_CLIENTS = 30


def proportional(seed, *, work=1.0, **changes):
    """Return a problem with payload in proportion to rank and work that is not."""
    problem = fleet(NUM_CLIENTS, seed, ranks=RANKS, slope=0.0)
    ranks = np.asarray(RANKS, dtype=float)
    need_hz_s = problem.need_hz_s[:, -1:] * ranks / ranks[-1]
    problem = replace(
        problem,
        compute_s=work * problem.compute_s,
        need_hz_s=need_hz_s,
        bits=4e5 * ranks,
        max_weight=1e3 * problem.max_weight,  # nobody at its limit
    )
    return replace(problem, **changes)


@pytest.mark.parametrize("seed", range(5))
def test_only_the_product_of_probability_and_rank_matters(seed):
    """Payload in proportion to ``k``, ``nu = 1``, and no compute that counts: rounds
    and busy time depend on ``q k / r`` alone, client by client."""
    problem, law = proportional(seed, work=0.0), Surrogate(alpha=200.0, beta=5.0)
    rng = np.random.default_rng(seed)
    index = rng.integers(0, len(RANKS), NUM_CLIENTS).astype(np.int8)
    q = rng.uniform(0.05, 1.0, NUM_CLIENTS)
    sketched = value(Choice(probabilities=q, rank_index=index), problem, law)
    full = value(
        Choice(
            probabilities=q * np.asarray(RANKS)[index] / 8,
            rank_index=np.full(NUM_CLIENTS, 3, dtype=np.int8),
        ),
        problem,
        law,
    )
    assert full.total_s == pytest.approx(sketched.total_s, rel=1e-12)
    assert full.rounds == pytest.approx(sketched.rounds, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("work", [0.0, 0.3, 3.0])
def test_sketching_then_adds_nothing_over_sampling(seed, work):
    problem, law = proportional(seed, work=work), Surrogate(alpha=200.0, beta=5.0)
    joint_s = least_total_s(problem, law)
    sampled_s = least_total_s(at_top_rank(problem), law)
    assert joint_s == pytest.approx(sampled_s, rel=2e-3)


def at_the_limit():
    problem = proportional(0)
    return replace(problem, max_weight=float(problem.data_weights.max()) * 1.05)


def falling_work():
    problem = proportional(0)
    ranks = np.asarray(RANKS, dtype=float)
    return replace(problem, compute_s=problem.compute_s * ranks / 8)


@pytest.mark.parametrize(
    ("problem", "nu"),
    [(proportional(0), 0.4), (falling_work(), 1.0), (at_the_limit(), 1.0)],
    ids=["nu below one", "work falls with rank", "probabilities at their limits"],
)
def test_sketching_pays_where_one_of_these_fails(problem, nu):
    law = Surrogate(alpha=200.0, beta=5.0, nu=nu)
    assert least_total_s(problem, law) < 0.97 * least_total_s(at_top_rank(problem), law)


def test_with_uniform_q_the_predicted_time_first_falls_and_then_rises():
    """The shipped fleet by Monte Carlo: too few clients take too many rounds, too many
    crowd the band."""
    scenario = read_scenario(find_scenario("network-only"))
    task = build_task(scenario, Assumptions())
    levels = np.geomspace(0.08, 1.0, 12)
    index = np.zeros(20, dtype=np.int8)
    found = solver.score(
        task.problem,
        task.surrogate,
        [Choice(probabilities=np.full(20, q), rank_index=index) for q in levels],
        sharing=scenario.cell.uplink.sharing.kind,
        rng=stream(scenario.seed, "uniform-q"),
        num_rounds=20_000,
    )
    totals_s = np.array([one.total_s for one in found])
    best = int(totals_s.argmin())
    assert 2 <= best <= len(levels) - 2
    assert (np.diff(totals_s[: best + 1]) < 0).all()
    assert (np.diff(totals_s[best:]) > 0).all()
    assert totals_s[0] > 1.5 * totals_s[best]
    assert totals_s[-1] > 1.02 * totals_s[best]

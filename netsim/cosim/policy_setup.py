"""The planner of a scenario's policy, for the drawn fleet."""

from __future__ import annotations

import numpy as np

from netsim.cosim.plan_problem import Assumptions, build_problem
from netsim.cosim.scenario import Scenario
from netsim.errors import InputError
from netsim.learner.learner import Learner
from netsim.policy.baselines import weight_floors
from netsim.policy.planner import Planner
from netsim.policy.problem import Problem, at_rank_index
from netsim.population import Population


def build_planner(
    scenario: Scenario, learner: Learner, population: Population
) -> Planner | None:
    """Return the policy's planner, checked against the fleet; None without a policy."""
    policy = scenario.policy
    if policy is None:
        return None
    _require_weight(population, policy.max_weight)
    assumed = Assumptions(max_weight=policy.max_weight)
    problem, _ = build_problem(scenario, learner, population, assumed)
    if "decides-ranks" not in policy.traits and learner.rank is not None:
        problem = _at_given_ranks(scenario, learner, population, problem)
    sampling = scenario.server.sampling
    planner = Planner(
        problem=problem,
        sharing=scenario.single_cell("a policy").uplink.sharing.kind,
        given=None
        if sampling is None
        else sampling.probabilities(population.data_weights),
    )
    policy.require(planner)
    return planner


def _require_weight(population: Population, max_weight: float | None) -> None:
    try:
        weight_floors(population.data_weights, max_weight)
    except InputError as error:
        raise InputError(f"policy.{error}") from error


def _at_given_ranks(
    scenario: Scenario, learner: Learner, population: Population, problem: Problem
) -> Problem:
    """Return the problem restricted to the rank that the scenario gives each client."""
    full_rank = learner.rank
    assert full_rank is not None, "without learning nothing has a rank"
    ranks = [
        scenario.ranks.rank(
            full_rank, population.fleet.device(client_id), learner.memory_at
        )
        for client_id in range(len(population))
    ]
    places = np.array([problem.ranks.index(rank) for rank in ranks])
    is_open = problem.is_allowed[np.arange(len(places)), places]
    if not is_open.all():
        client_id = int(np.argmin(is_open))
        raise InputError(
            f"ranks: client {client_id} cannot train rank {ranks[client_id]} within "
            "its memory and the deadline; lower it, or let the policy decide ranks"
        )
    return at_rank_index(problem, places)

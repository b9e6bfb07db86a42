"""Checks the plans, estimates and marks of a policy as far as its settings give them;
what it decides from learning's changes is its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from netsim.cosim.policy_setup import build_planner
from netsim.policy.baselines import weight_floors
from netsim.verify.compare import check_column
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace

NAMES = {"norm2", "norm_exponent", "level", "alpha", "beta", "nu", "ratio"}
NAMES |= {"pilot_variance", "pilot_rounds", "plan_variance", "plan_rounds"}
NAMES |= {"plan_round_s", "plan_time_s"}
OF_PLANS = ("plan", "pilot", "floor", "fallback")


def check_plans(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield plans that do not name each client once, and pilots' plans that are not
    their settings'."""
    found, policy = trace.columns("plans"), known.policy
    pilots = known.policy_rules.pilots
    ids = found["round_id"]
    tops = None
    if pilots and policy is not None and "decides-ranks" in policy.traits:
        planner = build_planner(known.scenario, known.learner, known.population)
        tops = None if planner is None else planner.top_ranks()
    for place, round_id in enumerate(np.unique(ids)):
        plan = {name: column[ids == round_id] for name, column in found.items()}
        clients = range(known.num_clients)

        def where(row: int, number: int = int(round_id)) -> str:
            return f"round {number}, row {row}"

        yield from check_column("plans", "client_id", plan["client_id"], clients, where)
        if place < len(pilots) and policy is not None:
            weights = known.population.data_weights
            floors = weight_floors(weights, policy.max_weight)
            chances = np.maximum(pilots[place].probability, floors)
            name = "sampling_probability"
            yield from check_column("plans", name, plan[name], chances, where)
            if tops is not None:
                wanted = pilots[place].client_rank or int(tops.max())
                ranks = np.minimum(tops, wanted)
                yield from check_column("plans", "rank", plan["rank"], ranks, where)


def check_estimates(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield estimates that a policy does not make, that are there twice, or that are
    missing for some clients."""
    counts = Counter((row.round_id, row.name, row.client_id) for row in trace.estimates)
    of_clients = Counter(
        row.round_id for row in trace.estimates if row.client_id is not None
    )
    for (round_id, name, client_id), times in counts.items():
        is_own = (name == "norm2") == (client_id is not None)
        if times > 1 or name not in NAMES or not is_own:
            rule = "an estimate must be one that a policy makes, once a round"
            yield Finding("estimates", f"{name}, round {round_id}", rule, f"{times}")
    for round_id, times in of_clients.items():
        if times != known.num_clients:
            rule = "norms must be estimated of every client"
            yield Finding("estimates", f"round {round_id}", rule, f"of {times}")


def check_policy_marks(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield marks of a policy that name a client, a round without a plan, or another
    weight than pilots tried."""
    found, weights = trace.columns("plans"), known.population.data_weights
    pilots = len(known.policy_rules.pilots)
    first = sorted(set(found["round_id"].tolist()))[:pilots]
    is_tried = np.isin(found["round_id"], first)
    tried = np.tile(weights, len(first)) / found["sampling_probability"][is_tried]
    fallback = f"q does not matter up to weight {np.max(tried, initial=0.0):.4g}"
    plans = set(trace.columns("plans")["round_id"].tolist())
    for event in trace.events:
        if event.kind not in OF_PLANS:
            continue
        is_plan = event.kind == "plan"
        rounds = plans | {1} if is_plan else {None}
        if event.client_id is not None or event.round_id not in rounds:
            rule = "a policy's mark must be of its plan's round, and of no client"
            yield Finding("events", f"event {event.sequence}", rule, f"{event[3:5]}")
        if event.kind == "fallback" and event.detail != fallback:
            rule = "a fallback must name the greatest weight that pilots tried"
            yield Finding("events", f"event {event.sequence}", rule, event.detail)

"""Checks the tables that are as long as the population: clients and plans."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netsim.trace.schemas import SCHEMAS
from netsim.verify.compare import check_column
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import NONE, Trace

OF_DATA = ("num_samples", "weight")


def check_places(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield clients whose place, device, or channel differs from the draws."""
    found = trace.columns("clients")
    expected = dict(
        zip(SCHEMAS["clients"].names, known.population.columns(), strict=True)
    )
    for name, values in expected.items():
        if name not in OF_DATA:
            yield from check_column("clients", name, found[name], values, _client)


def check_samples(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield clients that do not hold the samples of the scenario's partition."""
    found = trace.columns("clients")["num_samples"]
    yield from check_column("clients", "num_samples", found, known.num_samples, _client)


def check_data_weights(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield clients whose weight is not their share of all samples."""
    found = trace.columns("clients")
    num_samples = found["num_samples"]
    shares = num_samples / max(1, num_samples.sum())
    yield from check_column("clients", "weight", found["weight"], shares, _client)


def check_planned_clients(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield plans that do not name each client once, in order."""
    found = trace.columns("plans")
    num_clients = known.num_clients
    num_plans = -(-len(found["client_id"]) // num_clients)
    expected = np.tile(np.arange(num_clients), num_plans)
    yield from check_column("plans", "client_id", found["client_id"], expected, _plan)


def check_given_ranks(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield plans whose rank is not that of the client's device."""
    policy = known.policy
    if policy is not None and "decides-ranks" in policy.traits:
        return
    ranks, found = given_ranks(known), trace.columns("plans")["rank"]
    expected = np.tile(ranks, -(-len(found) // len(ranks)))
    yield from check_column("plans", "rank", found, expected, _plan)


def given_ranks(known: Known) -> list[int]:
    """Return every client's rank where the scenario decides it; ``NONE`` without."""
    scenario, fleet = known.scenario, known.population.fleet
    learning = scenario.learning.federated
    if learning is None:
        return [NONE] * known.num_clients
    full_rank = learning.lora.r
    if "full-ranks" in scenario.ranks.traits:
        return [full_rank] * known.num_clients
    memory_at = known.learner.memory_at
    return fleet.per_client(
        [scenario.ranks.rank(full_rank, kind, memory_at) for kind in fleet.kinds]
    )


def _client(row: int) -> str:
    return f"client {row}"


def _plan(row: int) -> str:
    return f"row {row}"

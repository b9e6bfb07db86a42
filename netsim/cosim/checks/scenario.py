"""What in a scenario does not go together, though each part is right by itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netsim.channel import require_reachable
from netsim.cosim.checks.asked import too_high_ranks, undrawable
from netsim.cosim.checks.clock import too_long
from netsim.cosim.checks.declared import Declared, declared
from netsim.cosim.checks.rules import DEMANDS, contradicting
from netsim.errors import InputError, Refusal
from netsim.network.cells import Network
from netsim.population import PopulationConfig
from netsim.scenario.each import wrong_count

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario


def contradictions(scenario: Scenario) -> Iterator[Refusal]:
    """Yield everything in a scenario that cannot go together, and why."""
    if (scenario.cell is None) == (scenario.cells is None):
        yield (), "needs `cell`, or a list of `cells`: exactly one of them"
        return  # all other rules ask for the cells
    found = declared(scenario)
    num_clients = scenario.population.num_clients
    yield from _refused_numbers(scenario)
    yield from contradicting(found)
    for path, reason in scenario.learning.refusals(num_clients):
        yield ("learning", *path), reason
    yield from _lacking(scenario, found)


def _lacking(scenario: Scenario, found: Sequence[Declared]) -> Iterator[Refusal]:
    """Yield what the scenario demands of its aggregation that this lacks."""
    learning = scenario.learning.federated
    if learning is None:
        return
    method, is_truncated = (
        learning.aggregation,
        learning.settings.small_clients == "truncated",
    )
    for trait, ability in DEMANDS:
        needed = "unequal-ranks" if ability == "sketches" and is_truncated else ability
        for reason in method.contract.refusals([needed]):
            text = f"does not go with aggregation {method.kind!r}: {reason}"
            yield from ((one.path, text) for one in found if one.trait == trait)


def _refused_numbers(scenario: Scenario) -> Iterator[Refusal]:
    """Yield values that do not fit the number of clients or their places."""
    network, population = scenario.network, scenario.population
    yield from _same_names(network)
    yield from _misplaced(network, population)
    yield from _out_of_reach(network, population)
    yield from _counts(scenario)
    yield from undrawable(scenario)
    yield from too_long(scenario)
    yield from too_high_ranks(scenario)


def _same_names(network: Network) -> Iterator[Refusal]:
    for name, times in Counter(cell.name for cell in network.cells).items():
        if times > 1:
            text = f"{times} cells have the name {name!r}; give each its `name`"
            yield ("cells",), text


def _misplaced(network: Network, population: PopulationConfig) -> Iterator[Refusal]:
    """Yield a placement outside the distances at which a path loss holds."""
    placement, cells = population.placement, network.cells
    is_at_origin = len(cells) == 1 and cells[0].position_m == (0, 0)
    if placement is None or not (population.placed_around == "cells" or is_at_origin):
        return
    for cell in cells:
        try:
            require_reachable(placement, cell.path_loss)
        except InputError as error:
            yield ("population", "placement"), str(error)


def _out_of_reach(network: Network, population: PopulationConfig) -> Iterator[Refusal]:
    """Yield paths that lead out of the reach of every cell."""
    for corner in population.mobility.corners_m:
        distances_m = [math.dist(corner, cell.position_m) for cell in network.cells]
        reaches_m = [cell.path_loss.valid_range_m[1] for cell in network.cells]
        if all(d > most for d, most in zip(distances_m, reaches_m, strict=True)):
            yield (
                ("population", "mobility", "region"),
                f"its corner ({corner[0]:g} m, {corner[1]:g} m) is farther from every "
                "cell than that cell's path loss goes",
            )


def _counts(scenario: Scenario) -> Iterator[Refusal]:
    """Yield counts that do not fit how many clients there are."""
    num_clients = scenario.population.num_clients
    for key, value in scenario.server.counts.items():
        if value > num_clients:
            text = f"must not exceed the {num_clients} clients, got {value}"
            yield ("server", key), text
    if text := wrong_count(scenario.population.radio_band_hz, num_clients):
        yield ("population", "radio_band"), text

"""The rules that need numbers: counts, places and reaches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from netsim.channel import require_reachable
from netsim.errors import InputError, Refusal
from netsim.network.cells import Network, require_names
from netsim.population import PopulationConfig
from netsim.scenario.each import wrong_count

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario


def refused_numbers(scenario: Scenario) -> Iterator[Refusal]:
    """Yield values that do not fit the number of clients or where these are."""
    network, population = scenario.network, scenario.population
    yield from _same_names(network)
    yield from _misplaced(network, population)
    yield from _out_of_reach(network, population)
    yield from _counts(scenario)


def _same_names(network: Network) -> Iterator[Refusal]:
    try:
        require_names(network.cells)
    except ValueError as error:
        yield ("cells",), str(error)


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


def _too_high_ranks(scenario: Scenario) -> Iterator[Refusal]:
    """Yield ranks of clients above the adapter's."""
    learning = scenario.learning.federated
    if learning is None:
        return
    for choice in scenario.population.devices:
        try:
            scenario.ranks.rank(learning.lora.r, choice.device, lambda rank: 0)
        except InputError as error:
            yield ("ranks",), str(error)
            return


def _undrawable(scenario: Scenario) -> Iterator[Refusal]:
    """Yield what a sampler refuses for this many clients; of a copy, since samplers
    remember what they found."""
    sampling, num_clients = scenario.server.sampling, scenario.population.num_clients
    if sampling is None:
        return
    try:
        copy(sampling).probabilities(np.full(num_clients, 1 / num_clients))
    except InputError as error:
        path, _, text = str(error).partition(" ")
        is_placed = path.startswith("server.sampling.")
        yield (
            (tuple(path.split(".")), text)
            if is_placed
            else (
                ("server", "sampling"),
                str(error),
            )
        )


def _counts(scenario: Scenario) -> Iterator[Refusal]:
    """Yield counts that do not fit how many clients there are."""
    num_clients = scenario.population.num_clients
    for key, value in scenario.server.counts.items():
        if value > num_clients:
            text = f"must not exceed the {num_clients} clients, got {value}"
            yield ("server", key), text
    yield from _undrawable(scenario)
    yield from _too_high_ranks(scenario)
    if text := wrong_count(scenario.population.radio_band_hz, num_clients):
        yield ("population", "radio_band"), text

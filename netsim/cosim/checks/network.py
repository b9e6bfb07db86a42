"""What cells, places and ways of clients cannot be together."""

from __future__ import annotations

import math
from collections.abc import Iterator

from netsim.channel import Points, require_reachable
from netsim.errors import InputError, Refusal
from netsim.mobility import RandomWaypoint
from netsim.network.cells import Network, require_names
from netsim.population import PopulationConfig


def refused_networks(
    network: Network, population: PopulationConfig
) -> Iterator[Refusal]:
    """Yield where in a scenario something is that cannot work, and why not."""
    try:
        require_names(network.cells)
    except ValueError as error:
        yield ("cells",), str(error)
    yield from _lonely(network)
    yield from _misplaced(network, population)
    yield from _moving(network, population)


def _lonely(network: Network) -> Iterator[Refusal]:
    if len(network.cells) == 1 and network.interference is not None:
        yield ("interference",), "one cell alone has nobody to disturb it"


def _misplaced(network: Network, population: PopulationConfig) -> Iterator[Refusal]:
    """Yield a placement where a path loss says nothing, if that can be told."""
    placement, cells = population.placement, network.cells
    is_around_cells = population.placed_around == "cells"
    if placement is None:
        return
    if isinstance(placement, Points) and is_around_cells and len(cells) > 1:
        yield (
            ("population", "placed_around"),
            "listed points are around the origin: set `placed_around: origin`",
        )
    is_at_origin = len(cells) == 1 and cells[0].position_m == (0, 0)
    if not (is_around_cells or is_at_origin):
        return
    for cell in cells:
        try:
            require_reachable(placement, cell.path_loss)
        except InputError as error:
            yield ("population", "placement"), str(error)


def _moving(network: Network, population: PopulationConfig) -> Iterator[Refusal]:
    """Yield ways that lead out of reach, and shares that would not follow a client."""
    mobility, cells = population.mobility, network.cells
    if mobility.interval_s is None:
        return
    if len(cells) > 1 and any(cell.uplink.sharing.plans_rounds for cell in cells):
        yield (
            ("population", "mobility"),
            "a share that is fixed for a round does not follow its client into another "
            "cell: use a rule that acts at events, such as processor-sharing",
        )
    for corner in mobility.corners_m if isinstance(mobility, RandomWaypoint) else ():
        distances_m = [math.dist(corner, cell.position_m) for cell in cells]
        reaches_m = [cell.path_loss.valid_range_m[1] for cell in cells]
        if all(d > most for d, most in zip(distances_m, reaches_m, strict=True)):
            yield (
                ("population", "mobility", "region"),
                f"its corner ({corner[0]:g} m, {corner[1]:g} m) is farther from every "
                "cell than that cell's path loss goes",
            )

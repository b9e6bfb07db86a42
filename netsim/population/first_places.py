"""The places of all clients at time zero."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netsim.core.streams import stream
from netsim.network.cells import Network
from netsim.population.config import PopulationConfig

FloatArray = npt.NDArray[np.float64]


def first_places(
    config: PopulationConfig, network: Network, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Return x and y of every client at time zero, in metres."""
    if config.placement is None:
        paths = config.mobility.paths(config.num_clients, (), seed)
        places = [paths.at(n, 0) for n in range(config.num_clients)]
        x_m, y_m = np.array(places).T
        return x_m, y_m
    x_m, y_m = config.placement.place(config.num_clients, stream(seed, "placement"))
    if config.placed_around == "origin":
        return x_m, y_m
    centres = np.array([cell.position_m for cell in network.cells])
    own = centres[np.arange(config.num_clients) % len(centres)]
    return x_m + own[:, 0], y_m + own[:, 1]

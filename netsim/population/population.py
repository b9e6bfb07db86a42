"""The drawn clients with their channels and data weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from netsim.network.cells import Network
from netsim.population.config import PopulationConfig
from netsim.population.fleet import Fleet
from netsim.population.radio_map import RadioMap

Column: TypeAlias = Sequence[object] | npt.NDArray[np.generic]


class Population:
    """The drawn clients; a client id indexes fleet, radio map and weights."""

    def __init__(
        self,
        config: PopulationConfig,
        network: Network,
        *,
        seed: int,
        num_samples: Sequence[int] | npt.NDArray[np.int64],
    ) -> None:
        self.config = config
        self.network = network
        self.num_samples = np.asarray(num_samples, dtype=np.int64)
        self.data_weights = self.num_samples / self.num_samples.sum(dtype=np.float64)
        self.fleet = Fleet(config, seed)
        self.radio_map = RadioMap(config, network, seed)

    def __len__(self) -> int:
        return self.config.num_clients

    @cached_property
    def most_full_power(self) -> float:
        """Return the most that a client radiates, in its transmit powers: that of the
        whole uplink."""
        uplinks = [cell.uplink for cell in self.network.cells]
        parts = [
            1.0 if full_hz is None else uplink.band_hz / full_hz
            for uplink in uplinks
            for full_hz in [uplink.radio.full_power_hz]
        ]
        return max(1.0, *parts)

    def columns(self) -> tuple[Column, ...]:
        """Return the columns of the ``clients`` table, one row per client."""
        radio_map = self.radio_map
        return (
            np.arange(len(self)),
            np.asarray(radio_map.cell_ids),
            self.fleet.device_names(),
            radio_map.x_m,
            radio_map.y_m,
            radio_map.distance_m,
            radio_map.is_line_of_sight,
            radio_map.mean_snrs_db(),
            self.num_samples,
            self.data_weights,
        )

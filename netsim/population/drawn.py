"""Who is out there: the drawn fleet with its channels and data weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netsim.network import Network
from netsim.population.config import PopulationConfig
from netsim.population.fleet import Fleet
from netsim.population.radio_map import RadioMap
from netsim.trace import rows


class Population:
    """The drawn clients; each is an index into fleet, radio map and weights."""

    def __init__(
        self,
        config: PopulationConfig,
        network: Network,
        *,
        seed: int,
        num_samples: Sequence[int],
    ) -> None:
        self.config = config
        self.network = network
        self.num_samples = np.asarray(num_samples, dtype=np.int64)
        self.data_weights = self.num_samples / self.num_samples.sum()
        self.fleet = Fleet(config, seed)
        self.radio_map = RadioMap(config, network, seed)

    def __len__(self) -> int:
        return self.config.num_clients

    def rows(self) -> list[rows.Client]:
        """Return the ``clients`` table."""
        radio_map = self.radio_map
        columns = (
            range(len(self)),
            radio_map.cell_ids.tolist(),
            self.fleet.device_names().tolist(),
            radio_map.x_m.tolist(),
            radio_map.y_m.tolist(),
            radio_map.distance_m.tolist(),
            radio_map.is_line_of_sight.tolist(),
            radio_map.mean_snrs_db(),
            self.num_samples.tolist(),
            self.data_weights.tolist(),
        )
        return [rows.Client(*values) for values in zip(*columns, strict=True)]

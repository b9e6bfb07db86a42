"""Interference from other cells, as a rise of the noise that no event changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netsim.network.cell import Direction
from netsim.network.cells import Network
from netsim.population.cell_losses import Air


class NoiseRise:
    """By which factor interference raises the noise, see ``Interference``."""

    def __init__(
        self,
        network: Network,
        airs: Sequence[Air],
        cell_ids: npt.NDArray[np.int64],
    ) -> None:
        self._network = network
        self._airs = airs
        self._at_bases = [
            1 + math.fsum(self._load(rival, cell_id, cell_ids) for rival in rivals)
            for cell_id, rivals in enumerate(map(network.rivals, range(len(airs))))
        ]

    def at(
        self, direction: Direction, cell_id: int, losses_db: Sequence[float]
    ) -> float:
        """Return the factor for a message to or from a cell by a client with these
        losses to all cells."""
        if direction == "up":
            return self._at_bases[cell_id]
        rivals = self._network.rivals(cell_id)
        return 1 + math.fsum(
            self._sent_down(rival, cell_id, losses_db[rival]) for rival in rivals
        )

    def _sent_down(self, rival: int, cell_id: int, loss_db: float) -> float:
        """Return how much of the noise density a rival's base station adds."""
        downlink = self._network.cells[rival].downlink
        hears = self._network.cells[cell_id]
        cn0_hz = self._airs[rival].cn0_hz("down", loss_db, hears)
        return downlink.radio.snr(1.0, downlink.band_hz) * cn0_hz

    def _load(self, rival: int, cell_id: int, cell_ids: npt.NDArray[np.int64]) -> float:
        """Return how much of a base station's noise density one of the rival's clients
        adds, in the mean over all of them."""
        air, uplink = self._airs[cell_id], self._network.cells[rival].uplink
        losses_db = air.loss_db[cell_ids == rival].tolist()
        cn0s_hz = [air.cn0_hz("up", loss_db) for loss_db in losses_db]
        if not cn0s_hz:
            return 0.0
        per_hz = uplink.radio.snr(1.0, uplink.band_hz)
        return per_hz * math.fsum(cn0s_hz) / len(cn0s_hz)

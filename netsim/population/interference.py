"""Interference from other cells, as a constant rise of the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netsim.network.cell import Direction
from netsim.network.cells import Network
from netsim.population.cell_losses import CellLosses


class NoiseRise:
    """The factor by which interference raises the noise; see ``Interference``."""

    def __init__(
        self,
        network: Network,
        losses: Sequence[CellLosses],
        cell_ids: npt.NDArray[np.int64],
    ) -> None:
        self._network = network
        self._losses = losses
        self._at_bases = [
            1
            + math.fsum(
                self._uplink_noise(n, cell_id, cell_ids)
                for n in network.interferers(cell_id)
            )
            for cell_id in range(len(losses))
        ]

    def at(
        self, direction: Direction, cell_id: int, losses_db: Sequence[float]
    ) -> float:
        """Return the factor for a message between a cell and a client; ``losses_db``
        are the client's losses to all cells."""
        if direction == "up":
            return self._at_bases[cell_id]
        if self._network.interference is None:
            return 1.0
        return 1 + math.fsum(
            self._downlink_noise(n, cell_id, losses_db[n])
            for n in self._network.interferers(cell_id)
        )

    def _downlink_noise(self, interferer: int, cell_id: int, loss_db: float) -> float:
        """Return what another base station adds at a client, relative to its noise."""
        downlink = self._network.cells[interferer].downlink
        receiving = self._network.cells[cell_id]
        cn0_hz = self._losses[interferer].cn0_hz("down", loss_db, receiving)
        return downlink.radio.snr(1.0, downlink.band_hz) * cn0_hz

    def _uplink_noise(
        self, interferer: int, cell_id: int, cell_ids: npt.NDArray[np.int64]
    ) -> float:
        """Return what a client of another cell adds at a base station, relative to its
        noise, averaged over that cell's clients."""
        losses, uplink = self._losses[cell_id], self._network.cells[interferer].uplink
        losses_db = losses.loss_db[cell_ids == interferer].tolist()
        cn0s_hz = [losses.cn0_hz("up", loss_db) for loss_db in losses_db]
        if not cn0s_hz:
            return 0.0
        per_hz = uplink.radio.snr(1.0, uplink.band_hz)
        return per_hz * math.fsum(cn0s_hz) / len(cn0s_hz)

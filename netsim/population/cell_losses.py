"""Distance, line of sight and loss between one base station and every client."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from netsim.channel.budget import each, mean_cn0_hz, mean_cn0s_hz
from netsim.channel.shadowing import ShadowedPaths
from netsim.channel.tr38901 import at_once
from netsim.core.streams import stream
from netsim.mobility import Place
from netsim.network.cell import Cell, Direction
from netsim.population.config import PopulationConfig

FloatArray = npt.NDArray[np.float64]
_ROUNDING = 1e-9  # relative; a place at the limit may round to just beyond it


class _Receiver(NamedTuple):
    noise_figure_db: float
    density_dbm_per_hz: float


class CellLosses:
    """One cell's line of sight and losses to all clients, drawn once per run.

    Below the path-loss model's least distance the loss is that of the least distance;
    beyond its greatest distance the loss is infinite. Each client has one draw: it is
    in line of sight wherever the model's probability exceeds that draw.
    """

    def __init__(
        self,
        config: PopulationConfig,
        cell: Cell,
        cell_id: int,
        *,
        seed: int,
        places: tuple[FloatArray, FloatArray],
    ) -> None:
        self.cell = cell
        self._config = config
        name = (cell_id,) if cell_id else ()
        num_clients = len(places[0])
        self._sights = stream(seed, "line-of-sight", *name).random(num_clients)
        self._shadows = stream(seed, "shadowing", *name).standard_normal(num_clients)
        correlation_m, self._along = cell.shadowing_correlation_m, None
        if correlation_m is not None:
            self._along = ShadowedPaths(
                self._shadows.tolist(), correlation_m, seed=seed, cell_id=cell_id
            )
        x_m, y_m = cell.position_m
        self.distance_m: FloatArray = np.hypot(places[0] - x_m, places[1] - y_m)
        self._range_m = cell.path_loss.valid_range_m
        self.is_line_of_sight, self.loss_db = self._losses()

    def distance_to(self, place: Place) -> float:
        """Return the distance from the base station to a place, in metres."""
        return math.dist(place, self.cell.position_m)

    def loss_at(
        self, client_id: int, step: int, place: Callable[[int], Place]
    ) -> float:
        """Return a client's loss at a mobility step, in dB."""
        if not step:
            return float(self.loss_db[client_id])
        shadow = float(self._shadows[client_id])
        if self._along is not None:
            shadow = self._along.at(client_id, step, place)
        sight = float(self._sights[client_id])
        return self._loss(self.distance_to(place(step)), sight, shadow)[1]

    def cn0_hz(
        self, direction: Direction, loss_db: float, receiving: Cell | None = None
    ) -> float:
        """Return C/N0 at a given loss, without interference and fading, in Hz.

        ``receiving`` is the cell whose receiver noise counts, by default this one.
        """
        power_dbm, gain_dbi, receiver = self._ends(direction, receiving or self.cell)
        return mean_cn0_hz(
            transmit_power_dbm=power_dbm,
            antenna_gain_dbi=gain_dbi,
            loss_db=loss_db,
            noise_figure_db=receiver.noise_figure_db,
            density_dbm_per_hz=receiver.density_dbm_per_hz,
        )

    def cn0s_hz(self, direction: Direction, losses_db: FloatArray) -> FloatArray:
        """Return :meth:`cn0_hz` at each of these losses, in Hz."""
        power_dbm, gain_dbi, receiver = self._ends(direction, self.cell)
        return mean_cn0s_hz(
            transmit_power_dbm=power_dbm,
            antenna_gain_dbi=gain_dbi,
            losses_db=losses_db,
            noise_figure_db=receiver.noise_figure_db,
            density_dbm_per_hz=receiver.density_dbm_per_hz,
        )

    def _ends(
        self, direction: Direction, receiving: Cell
    ) -> tuple[float, float, _Receiver]:
        """Return the transmit power in dBm, both antennas' gain in dBi and the receiver
        of a link in this cell."""
        cell, config = self.cell, self._config
        density = receiving.noise_density_dbm_hz
        gain_dbi = cell.antenna_gain_dbi + config.antenna_gain_dbi
        if direction == "up":
            base = _Receiver(receiving.base_noise_figure_db, density)
            return config.transmit_power_dbm, gain_dbi, base
        device = _Receiver(receiving.device_noise_figure_db, density)
        return cell.downlink.transmit_power_dbm, gain_dbi, device

    def _losses(self) -> tuple[npt.NDArray[np.bool_], FloatArray]:
        """Return :meth:`_loss` of all clients."""
        model, (nearest_m, farthest_m) = self.cell.path_loss, self._range_m
        is_near = self.distance_m < nearest_m * (1 - _ROUNDING)
        is_beyond = self.distance_m > farthest_m * (1 + _ROUNDING)
        lengths_m = np.where(is_near | is_beyond, nearest_m, self.distance_m)
        if (fast := at_once(model)) is not None:
            sights = self._sights < fast.line_of_sight_probabilities(lengths_m)
            found = fast.losses_db(lengths_m, sights)
            found += fast.shadowing_sigmas_db(sights) * self._shadows
        else:
            sights = self._sights < each(model.line_of_sight_probability, lengths_m)
            found = each(model.loss_db, lengths_m, sights)
            found += each(model.shadowing_sigma_db, lengths_m, sights) * self._shadows
        return sights & ~is_beyond, np.where(is_beyond, math.inf, found)

    def _loss(
        self, distance_m: float, sight: float, shadow: float
    ) -> tuple[bool, float]:
        """Return whether a client of these draws is in line of sight at a distance, and
        its loss in dB."""
        model = self.cell.path_loss
        nearest_m, farthest_m = self._range_m
        if distance_m > farthest_m * (1 + _ROUNDING):
            return False, math.inf
        if distance_m < nearest_m * (1 - _ROUNDING):
            distance_m = nearest_m
        is_sight = sight < model.line_of_sight_probability(distance_m)
        sigma_db = model.shadowing_sigma_db(distance_m, is_sight)
        return is_sight, model.loss_db(distance_m, is_sight) + sigma_db * shadow

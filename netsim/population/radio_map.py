"""Where everybody is, and how well each client and its base station hear each other."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from netsim.cell import Cell, Downlink, Uplink
from netsim.channel import Link
from netsim.channel.budget import db_to_linear, linear_to_db, mean_cn0_hz
from netsim.errors import InputError
from netsim.population.config import PopulationConfig
from netsim.scenario.each import of_client
from netsim.streams import stream

Direction = Literal["up", "down"]
FloatArray = npt.NDArray[np.float64]
LONGEST_TRANSFER_S = 1e6  # alone on the band; fading would mean an event per block


class RadioMap:
    """Places, line of sight and mean channels, drawn once per run."""

    def __init__(self, config: PopulationConfig, cell: Cell, seed: int) -> None:
        self.cell = cell
        self._config = config
        self._seed = seed
        self._place()

    def ceiling_hz(self, client_id: int) -> float | None:
        """Return the widest share that a client's radio can use, in Hz."""
        return of_client(self._config.radio_band_hz, client_id)

    def ceiling_uhz(self, *client_ids: int) -> int | None:
        """Return the widest share that the radios of all these clients can use, in
        micro-hertz."""
        bands_hz = [self.ceiling_hz(client_id) for client_id in client_ids]
        least_hz = min((one for one in bands_hz if one is not None), default=None)
        return None if least_hz is None else round(least_hz * 1e6)

    def mean_snrs_db(self) -> list[float]:
        """Return every client's uplink SNR alone on the band, fading apart, in dB."""
        uplink = self.cell.uplink
        snrs = uplink.radio.snr(1.0, uplink.band_hz) * self._mean_cn0_hz["up"]
        return [linear_to_db(snr) for snr in snrs.tolist()]

    def link(self, client_id: int, direction: Direction) -> Link:
        """Return the client's channel in one direction."""
        mean = float(self._mean_cn0_hz[direction][client_id])
        band = self._band(direction)
        fading = self.cell.fading_of(band.radio)
        return Link(mean, fading, self._seed, direction, client_id)

    def effective_cn0_hz(self, client_id: int, direction: Direction) -> float:
        """Return the C/N0 that stands for the fading channel in a plan, in Hz."""
        mean_hz = float(self._mean_cn0_hz[direction][client_id])
        band = self._band(direction)
        snr = band.radio.snr(mean_hz, band.band_hz) / db_to_linear(band.radio.gap_db)
        return mean_hz * self.cell.fading_of(band.radio).effective_gain(snr)

    def effective_cn0s_hz(self, direction: Direction) -> FloatArray:
        """Return every client's :meth:`effective_cn0_hz`."""
        means_hz = self._mean_cn0_hz[direction]
        band = self._band(direction)
        per_hz = band.radio.snr(1.0, band.band_hz) / db_to_linear(band.radio.gap_db)
        fading = self.cell.fading_of(band.radio)
        return means_hz * fading.effective_gains(means_hz * per_hz)

    def lone_rates_bps(self, direction: Direction) -> FloatArray:
        """Return every client's rate alone on the band, fading averaged, in bit/s."""
        band = self._band(direction)
        return np.array(
            [
                band.radio.rate_bps(cn0_hz, band.band_hz)
                for cn0_hz in self.effective_cn0s_hz(direction).tolist()
            ]
        )

    @cached_property
    def weakest_client(self) -> int:
        """Return whom a broadcast to everybody must wait for, fading apart."""
        return int(np.argmin(self._mean_cn0_hz["down"]))

    def require_audible(self, direction: Direction, bits: int) -> None:
        """Raise ``InputError`` if the weakest client could hardly send or hear."""
        band = self._band(direction)
        client_id = int(np.argmin(self._mean_cn0_hz[direction]))
        cn0_hz = self.effective_cn0_hz(client_id, direction)
        rate_bps = band.radio.rate_bps(cn0_hz, band.band_hz)
        if bits > rate_bps * LONGEST_TRANSFER_S:
            snr_db = linear_to_db(band.radio.snr(cn0_hz, band.band_hz))
            raise InputError(
                f"client {client_id}, {self.distance_m[client_id]:.0f} m away, has "
                f"{snr_db:.0f} dB of SNR on the {direction}link: {bits} bits would "
                f"take over {LONGEST_TRANSFER_S / 86400:.0f} days on the whole band; "
                "raise the transmit power, or place clients closer"
            )

    def _band(self, direction: Direction) -> Uplink | Downlink:
        return self.cell.uplink if direction == "up" else self.cell.downlink

    def _place(self) -> None:
        """Draw places, line of sight and shadowing, each from a stream of its own."""
        config, cell, seed = self._config, self.cell, self._seed
        num_clients, model = config.num_clients, cell.path_loss
        placed = config.placement.place(num_clients, stream(seed, "placement"))
        self.x_m, self.y_m = placed
        self.distance_m = np.hypot(self.x_m, self.y_m)
        sight = stream(seed, "line-of-sight").random(num_clients)
        shadow = stream(seed, "shadowing").standard_normal(num_clients)
        self.is_line_of_sight = np.zeros(num_clients, dtype=bool)
        loss_db = np.empty(num_clients)
        for n, distance_m in enumerate(self.distance_m.tolist()):
            is_sight = sight[n] < model.line_of_sight_probability(distance_m)
            self.is_line_of_sight[n] = is_sight
            sigma_db = model.shadowing_sigma_db(distance_m, is_sight)
            loss_db[n] = model.loss_db(distance_m, is_sight) + sigma_db * shadow[n]
        self._mean_cn0_hz = {
            "up": self._budget(
                loss_db, config.transmit_power_dbm, cell.base_noise_figure_db
            ),
            "down": self._budget(
                loss_db, cell.downlink.transmit_power_dbm, cell.device_noise_figure_db
            ),
        }

    def _budget(
        self, loss_db: FloatArray, power_dbm: float, noise_figure_db: float
    ) -> FloatArray:
        gain_dbi = self.cell.antenna_gain_dbi + self._config.antenna_gain_dbi
        return np.array(
            [
                mean_cn0_hz(
                    transmit_power_dbm=power_dbm,
                    antenna_gain_dbi=gain_dbi,
                    loss_db=one_db,
                    noise_figure_db=noise_figure_db,
                    density_dbm_per_hz=self.cell.noise_density_dbm_hz,
                )
                for one_db in loss_db.tolist()
            ]
        )

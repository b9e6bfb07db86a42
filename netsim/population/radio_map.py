"""Where everybody is, and how well each client and its base station hear each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from netsim.channel import Channel, Fading, Link, MovingLink
from netsim.channel.budget import db_to_linear, linear_to_db
from netsim.core.clock import to_ns
from netsim.errors import InputError
from netsim.mobility import Place
from netsim.network.cell import Direction, Downlink, Uplink
from netsim.network.cells import Network
from netsim.population.cell_losses import Air
from netsim.population.config import PopulationConfig
from netsim.population.first_places import first_places
from netsim.population.interference import NoiseRise
from netsim.scenario.each import of_client

FloatArray = npt.NDArray[np.float64]
LONGEST_TRANSFER_S = 1e6  # alone on the band; fading would mean an event per block


class RadioMap:
    """Places, line of sight and mean channels.

    What is said of all clients at once holds at first, of each in its own cell then;
    clients that move have other channels, and maybe other cells, later.
    """

    def __init__(self, config: PopulationConfig, network: Network, seed: int) -> None:
        self.network = network
        self._config = config
        self._seed = seed
        interval_s = config.mobility.interval_s
        self._interval_ns = None if interval_s is None else to_ns(interval_s)
        self.x_m, self.y_m = first_places(config, network, seed)
        starts = list(zip(self.x_m.tolist(), self.y_m.tolist(), strict=True))
        self._paths = config.mobility.paths(config.num_clients, starts, seed)
        self._airs = [
            Air(config, cell, cell_id, seed=seed, places=(self.x_m, self.y_m))
            for cell_id, cell in enumerate(network.cells)
        ]
        self._losses: dict[int, tuple[int, tuple[float, ...]]] = {}  # last step asked
        self.cell_ids = self._associated()
        self._rise = NoiseRise(network, self._airs, self.cell_ids)
        self._mean_cn0_hz = {"up": self._means("up"), "down": self._means("down")}

    def ceiling_hz(self, client_id: int) -> float | None:
        """Return the widest share that a client's radio can use, in Hz."""
        return of_client(self._config.radio_band_hz, client_id)

    def ceiling_uhz(self, *client_ids: int) -> int | None:
        """Return the widest share that the radios of all these clients can use, in
        micro-hertz."""
        bands_hz = [self.ceiling_hz(client_id) for client_id in client_ids]
        least_hz = min((one for one in bands_hz if one is not None), default=None)
        return None if least_hz is None else round(least_hz * 1e6)

    @property
    def distance_m(self) -> FloatArray:
        """Return how far everybody is from its own base station, in metres."""
        return self._of_own_cell([air.distance_m for air in self._airs])

    @property
    def is_line_of_sight(self) -> npt.NDArray[np.bool_]:
        """Return who is in sight of its own base station."""
        return self._of_own_cell([air.is_line_of_sight for air in self._airs])

    def mean_snrs_db(self) -> list[float]:
        """Return every client's uplink SNR alone on the band, fading apart, in dB."""
        found = []
        for cell_id, cn0_hz in zip(
            self.cell_ids.tolist(), self._mean_cn0_hz["up"].tolist(), strict=True
        ):
            uplink = self.network.cells[cell_id].uplink
            snr = uplink.radio.snr(1.0, uplink.band_hz) * cn0_hz
            found.append(linear_to_db(snr))
        return found

    def cell_at(self, client_id: int, now_ns: int) -> int:
        """Return in which cell a message that sets out now goes."""
        step = self._step(now_ns)
        if not step:
            return int(self.cell_ids[client_id])
        losses_db = self._losses_at(client_id, step)
        if self.network.association == "nearest":
            place = self._place(client_id, step)
            merits = [air.distance_to(place) for air in self._airs]
        else:
            merits = [
                loss_db - cell.antenna_gain_dbi
                for loss_db, cell in zip(losses_db, self.network.cells, strict=True)
            ]
        cell_id = min(range(len(merits)), key=merits.__getitem__)
        if math.isinf(losses_db[cell_id]):
            raise _beyond(client_id, self._place(client_id, step), now_ns)
        return cell_id

    def link(self, client_id: int, direction: Direction, cell_id: int) -> Channel:
        """Return the client's channel to and from a cell, wherever it goes."""
        _, fading = self._band_and_fading(cell_id, direction)
        name = f"{direction}/{cell_id}" if cell_id else direction
        if self._interval_ns is None:
            mean_hz = float(self._mean_cn0_hz[direction][client_id])
            return Link(mean_hz, fading, self._seed, name, client_id)
        mean = partial(self._mean_until, client_id, direction, cell_id)
        return MovingLink(mean, fading, self._seed, name, client_id)

    def effective_cn0_hz(
        self, client_id: int, direction: Direction, now_ns: int = 0
    ) -> float:
        """Return the C/N0 that stands for the fading channel in a plan, in Hz: of where
        the client is, in its cell there."""
        cell_id = self.cell_at(client_id, now_ns)
        mean_hz = self._mean_at(client_id, direction, cell_id, now_ns)
        band, fading = self._band_and_fading(cell_id, direction)
        snr = band.radio.snr(mean_hz, band.band_hz) / db_to_linear(band.radio.gap_db)
        return mean_hz * fading.effective_gain(snr)

    def effective_cn0s_hz(self, direction: Direction) -> FloatArray:
        """Return every client's :meth:`effective_cn0_hz` at first."""
        found = np.empty(len(self.cell_ids))
        for cell_id in range(len(self.network.cells)):
            members = self.members(cell_id)
            means_hz = self._mean_cn0_hz[direction][members]
            found[members] = self._effective(means_hz, cell_id, direction)
        return found

    def lone_rates_bps(self, direction: Direction) -> FloatArray:
        """Return every client's rate alone on its own cell's band, fading averaged, in
        bit/s."""
        cells = self.network.cells
        bands = [cells[cell_id].band(direction) for cell_id in self.cell_ids.tolist()]
        cn0s_hz = self.effective_cn0s_hz(direction).tolist()
        return np.array(
            [
                band.radio.rate_bps(cn0_hz, band.band_hz)
                for band, cn0_hz in zip(bands, cn0s_hz, strict=True)
            ]
        )

    @cached_property
    def weakest_client(self) -> int:
        """Return whom a broadcast to everybody must wait for: who hears its own base
        station worst at first, fading apart."""
        return int(np.argmin(self._mean_cn0_hz["down"]))

    def members(self, cell_id: int) -> npt.NDArray[np.int64]:
        """Return who is in a cell at first, by id."""
        found: npt.NDArray[np.int64] = np.flatnonzero(self.cell_ids == cell_id)
        return found

    def require_audible(self, direction: Direction, bits: int) -> None:
        """Raise ``InputError`` if the weakest client of a cell could hardly send or
        hear from where it is at first."""
        for cell_id in range(len(self.network.cells)):
            members = self.members(cell_id)
            if len(members):
                means_hz = self._mean_cn0_hz[direction][members]
                self._require_rate(int(members[np.argmin(means_hz)]), direction, bits)

    def _require_rate(self, client_id: int, direction: Direction, bits: int) -> None:
        band, _ = self._band_and_fading(int(self.cell_ids[client_id]), direction)
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

    def _band_and_fading(
        self, cell_id: int, direction: Direction
    ) -> tuple[Uplink | Downlink, Fading]:
        cell = self.network.cells[cell_id]
        band = cell.band(direction)
        return band, cell.fading_of(band.radio)

    def _effective(
        self, means_hz: FloatArray, cell_id: int, direction: Direction
    ) -> FloatArray:
        band, fading = self._band_and_fading(cell_id, direction)
        per_hz = band.radio.snr(1.0, band.band_hz) / db_to_linear(band.radio.gap_db)
        return means_hz * fading.effective_gains(means_hz * per_hz)

    def _mean_at(
        self, client_id: int, direction: Direction, cell_id: int, now_ns: int
    ) -> float:
        """Return the mean C/N0 to and from a cell at a tick, in Hz."""
        step = self._step(now_ns)
        if not step and cell_id == self.cell_ids[client_id]:
            return float(self._mean_cn0_hz[direction][client_id])
        return self._heard_hz(direction, cell_id, self._losses_at(client_id, step))

    def _mean_until(
        self, client_id: int, direction: Direction, cell_id: int, now_ns: int
    ) -> tuple[float, int]:
        """Return the mean C/N0 of a moving client, and when it may change."""
        assert self._interval_ns is not None
        mean_hz = self._mean_at(client_id, direction, cell_id, now_ns)
        return mean_hz, (self._step(now_ns) + 1) * self._interval_ns

    def _heard_hz(
        self, direction: Direction, cell_id: int, losses_db: Sequence[float]
    ) -> float:
        own_hz = self._airs[cell_id].cn0_hz(direction, losses_db[cell_id])
        return own_hz / self._rise.at(direction, cell_id, losses_db)

    def _step(self, now_ns: int) -> int:
        return 0 if self._interval_ns is None else now_ns // self._interval_ns

    def _place(self, client_id: int, step: int) -> Place:
        return self._paths.at(client_id, step * (self._interval_ns or 0))

    def _losses_at(self, client_id: int, step: int) -> tuple[float, ...]:
        """Return a client's losses to all cells at a step of its way, in dB."""
        last = self._losses.get(client_id)
        if last is None or last[0] != step:
            place = partial(self._place, client_id)
            losses_db = tuple(air.loss_at(client_id, step, place) for air in self._airs)
            last = self._losses[client_id] = step, losses_db
        return last[1]

    def _associated(self) -> npt.NDArray[np.int64]:
        """Return everybody's first cell; a tie goes to the first in the list."""
        losses_db = np.stack([air.loss_db for air in self._airs])
        if self.network.association == "nearest":
            merits = np.stack([air.distance_m for air in self._airs])
        else:
            gains_dbi = [cell.antenna_gain_dbi for cell in self.network.cells]
            merits = losses_db - np.array(gains_dbi)[:, None]
        cell_ids: npt.NDArray[np.int64] = np.argmin(merits, axis=0)
        is_lost = np.isinf(losses_db[cell_ids, np.arange(len(cell_ids))])
        if is_lost.any():
            lost = int(np.argmax(is_lost))
            raise _beyond(lost, (float(self.x_m[lost]), float(self.y_m[lost])), 0)
        return cell_ids

    def _means(self, direction: Direction) -> FloatArray:
        """Return everybody's mean C/N0 in its own cell at first, in Hz."""
        losses = [air.loss_db.tolist() for air in self._airs]
        everybody = zip(self.cell_ids.tolist(), zip(*losses, strict=True), strict=True)
        return np.array(
            [
                self._heard_hz(direction, cell_id, losses_db)
                for cell_id, losses_db in everybody
            ]
        )

    def _of_own_cell(self, columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.stack(columns)[self.cell_ids, np.arange(len(self.cell_ids))]


def _beyond(client_id: int, place: Place, now_ns: int) -> InputError:
    x_m, y_m = place
    return InputError(
        f"client {client_id} is at ({x_m:.0f} m, {y_m:.0f} m) after "
        f"{now_ns / 1e9:g} s, farther than the path loss of its cell goes; place "
        "clients closer, keep them in a smaller region, or add cells"
    )

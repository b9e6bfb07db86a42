"""The places of all clients and their channels to the base stations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from netsim.channel import Channel, Fading, Link, MovingLink
from netsim.channel.budget import each, linear_to_db
from netsim.channel.effective import effective_cn0_hz, effective_cn0s_hz, planned_radio
from netsim.core.clock import to_ns
from netsim.core.quantities import format_quantity
from netsim.errors import InputError
from netsim.mobility import Place
from netsim.network.cell import Direction, Downlink, Uplink
from netsim.network.cells import Network
from netsim.population.cell_losses import CellLosses
from netsim.population.config import PopulationConfig
from netsim.population.first_places import first_places
from netsim.population.interference import NoiseRise
from netsim.scenario.each import of_client

FloatArray = npt.NDArray[np.float64]
LONGEST_TRANSFER_S = 1e6  # on the whole band; fading has one event per block


class Starts(Sequence[Place]):
    """The places of all clients at time zero, without an object for each."""

    def __init__(self, x_m: FloatArray, y_m: FloatArray) -> None:
        self._x_m, self._y_m = x_m, y_m

    def __len__(self) -> int:
        return len(self._x_m)

    @overload
    def __getitem__(self, at: int) -> Place: ...

    @overload
    def __getitem__(self, at: slice) -> Starts: ...

    def __getitem__(self, at: int | slice) -> Place | Starts:
        if isinstance(at, slice):
            return Starts(self._x_m[at], self._y_m[at])
        return float(self._x_m[at]), float(self._y_m[at])


class RadioMap:
    """Places, line of sight and mean channels.

    Methods and arrays about all clients hold at time zero, for each client in its
    serving cell then. A moving client's channel and cell change later.
    """

    def __init__(self, config: PopulationConfig, network: Network, seed: int) -> None:
        self.network = network
        self._config = config
        self._seed = seed
        interval_s = config.mobility.interval_s
        self._interval_ns = None if interval_s is None else to_ns(interval_s)
        self.x_m, self.y_m = first_places(config, network, seed)
        starts = Starts(self.x_m, self.y_m)
        self._paths = config.mobility.paths(config.num_clients, starts, seed)
        self._losses = [
            CellLosses(config, cell, cell_id, seed=seed, places=(self.x_m, self.y_m))
            for cell_id, cell in enumerate(network.cells)
        ]
        self._fadings: dict[tuple[int, Direction], tuple[Fading, str]] = {}
        self._last_losses: dict[int, tuple[int, tuple[float, ...]]] = {}  # with step
        self.cell_ids = self._serving_cells()
        self._noise_rise = NoiseRise(network, self._losses, self.cell_ids)
        self._mean_cn0_hz = {"up": self._means("up"), "down": self._means("down")}

    def ceiling_hz(self, client_id: int) -> float | None:
        """Return the widest band that a client's radio can use, in Hz."""
        return of_client(self._config.radio_band_hz, client_id)

    def ceiling_uhz(self, *client_ids: int) -> int | None:
        """Return the widest band that all these clients' radios can use, in uHz."""
        bands_hz = [self.ceiling_hz(client_id) for client_id in client_ids]
        least_hz = min((one for one in bands_hz if one is not None), default=None)
        return None if least_hz is None else round(least_hz * 1e6)

    @property
    def distance_m(self) -> FloatArray:
        """Return every client's distance to its base station, in metres."""
        return self._of_own_cell([one.distance_m for one in self._losses])

    @property
    def is_line_of_sight(self) -> npt.NDArray[np.bool_]:
        """Return whether each client is in line of sight of its base station."""
        return self._of_own_cell([one.is_line_of_sight for one in self._losses])

    def mean_snrs_db(self) -> FloatArray:
        """Return every client's mean uplink SNR on the whole band, in dB."""
        uplinks = [cell.uplink for cell in self.network.cells]
        per_hz = np.array([one.radio.snr(1.0, one.band_hz) for one in uplinks])
        snrs = per_hz[self.cell_ids] * self._mean_cn0_hz["up"]
        return each(linear_to_db, snrs)

    def mean_hz(self, direction: Direction) -> FloatArray:
        """Return every client's mean C/N0 to or from its cell at time zero, in Hz."""
        return self._mean_cn0_hz[direction]

    @property
    def is_static(self) -> bool:
        """Return whether no client ever moves."""
        return self._interval_ns is None

    def cell_at(self, client_id: int, now_ns: int) -> int:
        """Return the cell that serves a client at a tick."""
        step = self._step(now_ns)
        if not step:
            return int(self.cell_ids[client_id])
        losses_db = self._losses_at(client_id, step)
        if self.network.association == "nearest":
            place = self._place(client_id, step)
            merits = [one.distance_to(place) for one in self._losses]
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
        """Return a client's channel to or from a cell over the whole run."""
        fading, name = self._fading_and_name(cell_id, direction)
        if self._interval_ns is None:
            mean_hz = self._mean_cn0_hz[direction].item(client_id)
            return Link(mean_hz, fading, self._seed, name, client_id)
        mean = partial(self._mean_until, client_id, direction, cell_id)
        return MovingLink(mean, fading, self._seed, name, client_id)

    def effective_cn0_hz(
        self, client_id: int, direction: Direction, now_ns: int = 0
    ) -> float:
        """Return the constant C/N0 that a plan uses for the fading channel, in Hz, at
        the client's place and in its cell at a tick."""
        cell_id = self.cell_at(client_id, now_ns)
        mean_hz = self._mean_at(client_id, direction, cell_id, now_ns)
        band, fading = self._band_and_fading(cell_id, direction)
        return effective_cn0_hz(
            mean_hz, radio=band.radio, band_hz=band.band_hz, fading=fading
        )

    def effective_cn0s_hz(self, direction: Direction) -> FloatArray:
        """Return every client's :meth:`effective_cn0_hz` at time zero."""
        found = np.empty(len(self.cell_ids))
        for cell_id in range(len(self.network.cells)):
            members = self.members(cell_id)
            means_hz = self._mean_cn0_hz[direction][members]
            found[members] = self._effective(means_hz, cell_id, direction)
        return found

    def full_band_rates_bps(self, direction: Direction) -> FloatArray:
        """Return every client's mean rate on its cell's whole band, in bit/s."""
        cells = self.network.cells
        bands = [cells[cell_id].band(direction) for cell_id in self.cell_ids.tolist()]
        cn0s_hz = self.effective_cn0s_hz(direction).tolist()
        return np.array(
            [
                planned_radio(band.radio).rate_bps(cn0_hz, band.band_hz)
                for band, cn0_hz in zip(bands, cn0s_hz, strict=True)
            ]
        )

    @cached_property
    def weakest_client(self) -> int:
        """Return the client with the lowest mean downlink C/N0 at time zero, which sets
        the rate of a broadcast to all clients."""
        return int(np.argmin(self._mean_cn0_hz["down"]))

    def members(self, cell_id: int) -> npt.NDArray[np.int64]:
        """Return the ids of a cell's clients at time zero."""
        found: npt.NDArray[np.int64] = np.flatnonzero(self.cell_ids == cell_id)
        return found

    def require_usable_links(self, direction: Direction, bits: int) -> None:
        """Raise ``InputError`` if ``bits`` would take the weakest client of a cell more
        than ``LONGEST_TRANSFER_S`` on the whole band at time zero, or over the cell's
        backhaul."""
        for cell_id, cell in enumerate(self.network.cells):
            members = self.members(cell_id)
            if len(members):
                if cell.backhaul is not None:
                    cell.backhaul.require_usable(bits, LONGEST_TRANSFER_S)
                means_hz = self._mean_cn0_hz[direction][members]
                self._require_rate(int(members[np.argmin(means_hz)]), direction, bits)
                if self._config.radio_band_hz is not None:
                    narrowest = min(members.tolist(), key=self._width_hz)
                    self._require_rate(narrowest, direction, bits)

    def _require_rate(self, client_id: int, direction: Direction, bits: int) -> None:
        band, _ = self._band_and_fading(int(self.cell_ids[client_id]), direction)
        cn0_hz = self.effective_cn0_hz(client_id, direction)
        share_hz = min(band.band_hz, self._width_hz(client_id))
        rate_bps = planned_radio(band.radio).rate_bps(cn0_hz, share_hz)
        if band.transport.air_bits(bits) > rate_bps * LONGEST_TRANSFER_S:
            mean_hz = float(self._mean_cn0_hz[direction][client_id])
            snr_db = linear_to_db(band.radio.snr(mean_hz, band.band_hz))
            raise InputError(
                f"client {client_id}, {self.distance_m[client_id]:.0f} m away, has "
                f"{snr_db:.0f} dB of SNR on the {direction}link: {bits} bits would "
                f"{_endless(rate_bps, _place(band, share_hz))}; raise the transmit "
                "power, or place clients closer"
            )

    def _width_hz(self, client_id: int) -> float:
        """Return the width of a client's radio, infinite where it has no limit."""
        limit_hz = self.ceiling_hz(client_id)
        return math.inf if limit_hz is None else limit_hz

    def _band_and_fading(
        self, cell_id: int, direction: Direction
    ) -> tuple[Uplink | Downlink, Fading]:
        cell = self.network.cells[cell_id]
        band = cell.band(direction)
        return band, cell.fading_of(band.radio)

    def _fading_and_name(
        self, cell_id: int, direction: Direction
    ) -> tuple[Fading, str]:
        """Return the fading of a cell's channels and the name that keys its draws."""
        found = self._fadings.get((cell_id, direction))
        if found is None:
            _, fading = self._band_and_fading(cell_id, direction)
            name = f"{direction}/{cell_id}" if cell_id else direction
            found = self._fadings[cell_id, direction] = fading, name
        return found

    def _effective(
        self, means_hz: FloatArray, cell_id: int, direction: Direction
    ) -> FloatArray:
        band, fading = self._band_and_fading(cell_id, direction)
        return effective_cn0s_hz(
            means_hz, radio=band.radio, band_hz=band.band_hz, fading=fading
        )

    def _mean_at(
        self, client_id: int, direction: Direction, cell_id: int, now_ns: int
    ) -> float:
        """Return a client's mean C/N0 to or from a cell at a tick, in Hz."""
        step = self._step(now_ns)
        if not step and cell_id == self.cell_ids[client_id]:
            return float(self._mean_cn0_hz[direction][client_id])
        return self._mean_cn0_to(direction, cell_id, self._losses_at(client_id, step))

    def _mean_until(
        self, client_id: int, direction: Direction, cell_id: int, now_ns: int
    ) -> tuple[float, int]:
        """Return a moving client's mean C/N0, in Hz, and when it changes next."""
        assert self._interval_ns is not None
        mean_hz = self._mean_at(client_id, direction, cell_id, now_ns)
        return mean_hz, (self._step(now_ns) + 1) * self._interval_ns

    def _mean_cn0_to(
        self, direction: Direction, cell_id: int, losses_db: Sequence[float]
    ) -> float:
        own_hz = self._losses[cell_id].cn0_hz(direction, losses_db[cell_id])
        return own_hz / self._noise_rise.at(direction, cell_id, losses_db)

    def _step(self, now_ns: int) -> int:
        return 0 if self._interval_ns is None else now_ns // self._interval_ns

    def _place(self, client_id: int, step: int) -> Place:
        return self._paths.at(client_id, step * (self._interval_ns or 0))

    def _losses_at(self, client_id: int, step: int) -> tuple[float, ...]:
        """Return a client's losses to all cells at a mobility step, in dB."""
        last = self._last_losses.get(client_id)
        if last is None or last[0] != step:
            place = partial(self._place, client_id)
            losses_db = tuple(
                one.loss_at(client_id, step, place) for one in self._losses
            )
            last = self._last_losses[client_id] = step, losses_db
        return last[1]

    def _serving_cells(self) -> npt.NDArray[np.int64]:
        """Return every client's cell at time zero; a tie goes to the lower id."""
        losses_db = np.stack([one.loss_db for one in self._losses])
        if self.network.association == "nearest":
            merits = np.stack([one.distance_m for one in self._losses])
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
        """Return every client's mean C/N0 in its cell at time zero, in Hz."""
        found = np.empty(len(self.cell_ids))
        for cell_id, losses in enumerate(self._losses):
            members = self.members(cell_id)
            own_hz = losses.cn0s_hz(direction, losses.loss_db[members])
            found[members] = own_hz / self._rises(direction, cell_id, members)
        return found

    def _rises(
        self, direction: Direction, cell_id: int, members: npt.NDArray[np.int64]
    ) -> FloatArray:
        """Return how much interference raises the noise for these clients of a cell."""
        if direction == "up" or not self.network.interferers(cell_id):
            return np.full(len(members), self._noise_rise.at(direction, cell_id, ()))
        losses_db = np.stack([one.loss_db[members] for one in self._losses])
        return np.array(
            [
                self._noise_rise.at(direction, cell_id, own)
                for own in losses_db.T.tolist()
            ]
        )

    def _of_own_cell(self, columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.stack(columns)[self.cell_ids, np.arange(len(self.cell_ids))]


def _endless(rate_bps: float, place: str) -> str:
    if not rate_bps:
        return "never arrive, below the lowest entry of the radio's table"
    return f"take over {LONGEST_TRANSFER_S / 86400:.0f} days on {place}"


def _beyond(client_id: int, place: Place, now_ns: int) -> InputError:
    x_m, y_m = place
    return InputError(
        f"client {client_id} is at ({x_m:.0f} m, {y_m:.0f} m) after "
        f"{now_ns / 1e9:g} s, beyond the range of its cell's path loss; place "
        "clients closer, keep them in a smaller region, or add cells"
    )


def _place(band: Uplink | Downlink, share_hz: float) -> str:
    if share_hz == band.band_hz:
        return "the whole band"
    return f"the {format_quantity(share_hz, 'Hz')} of its `radio_band`"

"""Who is out there: places, devices, channels and data weights of all clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from netsim.cell import Cell, Gain, Power
from netsim.channel import PLACEMENTS, Link, Placement
from netsim.channel.budget import db_to_linear, linear_to_db, mean_cn0_hz
from netsim.clock import to_ns
from netsim.device import SPREADS, Device, Spread, jitter_factor, spread_factor
from netsim.device_catalogue import DeviceChoice, DeviceMix
from netsim.errors import InputError
from netsim.quantities import Hertz, format_quantity
from netsim.scenario import OneOf, Record
from netsim.streams import stream
from netsim.trace import rows

Direction = Literal["up", "down"]
FloatArray = npt.NDArray[np.float64]
LONGEST_TRANSFER_S = 1e6  # alone on the band; fading would mean an event per block


class PopulationConfig(Record):
    """The fleet, before anything is drawn."""

    num_clients: int = Field(ge=1)
    placement: Annotated[Placement, OneOf(PLACEMENTS)]
    devices: tuple[DeviceChoice, ...] = Field(min_length=1)
    speed_spread: Annotated[Spread, OneOf(SPREADS)] | None = None
    compute_jitter: float = Field(default=0.0, ge=0, le=5)
    transmit_power_dbm: Power = 23.0
    antenna_gain_dbi: Gain = 0.0
    radio_band_hz: Annotated[Hertz, Field(gt=0)] | None = None


class Population:
    """The drawn fleet; a client is an index, its objects are made when asked for."""

    def __init__(
        self,
        config: PopulationConfig,
        cell: Cell,
        *,
        seed: int,
        num_samples: Sequence[int],
    ) -> None:
        self.config = config
        self.cell = cell
        self.num_samples = np.asarray(num_samples, dtype=np.int64)
        self.data_weights = self.num_samples / self.num_samples.sum()
        self._seed = seed
        self._place()
        mix = DeviceMix(choices=config.devices)
        self._devices = mix.devices
        rng = stream(seed, "devices")
        self._device_index = mix.draw(config.num_clients, rng)

    def __len__(self) -> int:
        return self.config.num_clients

    def device(self, client_id: int) -> Device:
        """Return the client's kind of device."""
        return self._devices[int(self._device_index[client_id])]

    def link(self, client_id: int, direction: Direction) -> Link:
        """Return the client's channel in one direction."""
        mean = float(self._mean_cn0_hz[direction][client_id])
        band = self.cell.uplink if direction == "up" else self.cell.downlink
        fading = self.cell.fading_of(band.radio)
        return Link(mean, fading, self._seed, direction, client_id)

    def effective_cn0_hz(self, client_id: int, direction: Direction) -> float:
        """Return the C/N0 that stands for the fading channel in a plan, in Hz."""
        mean_hz = float(self._mean_cn0_hz[direction][client_id])
        band = self.cell.uplink if direction == "up" else self.cell.downlink
        snr = band.radio.snr(mean_hz, band.band_hz) / db_to_linear(band.radio.gap_db)
        return mean_hz * self.cell.fading_of(band.radio).effective_gain(snr)

    def effective_cn0s_hz(self, direction: Direction) -> FloatArray:
        """Return every client's :meth:`effective_cn0_hz`."""
        means_hz = self._mean_cn0_hz[direction]
        band = self.cell.uplink if direction == "up" else self.cell.downlink
        per_hz = band.radio.snr(1.0, band.band_hz) / db_to_linear(band.radio.gap_db)
        fading = self.cell.fading_of(band.radio)
        return means_hz * fading.effective_gains(means_hz * per_hz)

    def lone_rates_bps(self, direction: Direction) -> FloatArray:
        """Return every client's rate alone on the band, fading averaged, in bit/s."""
        band = self.cell.uplink if direction == "up" else self.cell.downlink
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
        band = self.cell.uplink if direction == "up" else self.cell.downlink
        client_id = int(np.argmin(self._mean_cn0_hz[direction]))
        cn0_hz = self.effective_cn0_hz(client_id, direction)
        rate_bps = band.radio.rate_bps(cn0_hz, band.band_hz)
        if bits > rate_bps * LONGEST_TRANSFER_S:
            snr_db = linear_to_db(band.radio.snr(cn0_hz, band.band_hz))
            raise InputError(
                f"client {client_id}, {self._distance_m[client_id]:.0f} m away, has "
                f"{snr_db:.0f} dB of SNR on the {direction}link: {bits} bits would "
                f"take over {LONGEST_TRANSFER_S / 86400:.0f} days on the whole band; "
                "raise the transmit power, or place clients closer"
            )

    @property
    def ceiling_uhz(self) -> int | None:
        """Return the widest share that a device's radio can use, in micro-hertz."""
        band_hz = self.config.radio_band_hz
        return None if band_hz is None else round(band_hz * 1e6)

    def expected_compute_s(self, client_id: int, flop: int) -> float:
        """Return the seconds of a computation without its jitter."""
        spread = self.config.speed_spread
        factor = 1.0
        if spread is not None:
            factor = spread_factor(self._seed, client_id, spread)
        return self.device(client_id).compute_time_s(flop) * factor

    def seconds_per_flop(self) -> FloatArray:
        """Return what one operation takes on every client, without jitter."""
        kinds = np.array([device.compute_time_s(1) for device in self._devices])
        every = kinds[self._device_index]
        spread = self.config.speed_spread
        if spread is None:
            return np.asarray(every)
        factors = [spread_factor(self._seed, n, spread) for n in range(len(self))]
        return np.asarray(every * np.array(factors))

    def memories_bytes(self) -> npt.NDArray[np.int64]:
        """Return the memory of every client's device."""
        return np.array([device.memory_bytes for device in self._devices])[
            self._device_index
        ]

    def device_names(self) -> npt.NDArray[np.object_]:
        """Return the name of every client's device."""
        names = np.array([device.name for device in self._devices], dtype=object)
        return np.asarray(names[self._device_index])

    def compute_ns(self, client_id: int, occasion: int, flop: int) -> int:
        """Return the ticks of a computation on one occasion: a round, or a start."""
        jitter = jitter_factor(
            self._seed, client_id, occasion, self.config.compute_jitter
        )
        return to_ns(self.expected_compute_s(client_id, flop) * jitter)

    def require_memory(self, needed_bytes: Callable[[Device], int]) -> None:
        """Raise ``InputError`` if a drawn device cannot hold its training."""
        for index in np.unique(self._device_index):
            device = self._devices[index]
            memory_bytes = needed_bytes(device)
            if device.memory_bytes < memory_bytes:
                raise InputError(
                    f"population.devices: {device.name} has "
                    f"{format_quantity(device.memory_bytes, 'B')} of memory, local "
                    f"training needs {format_quantity(memory_bytes, 'B')}; take a "
                    "smaller model or batch, or leave this device out"
                )

    def rows(self) -> list[rows.Client]:
        """Return the ``clients`` table."""
        uplink = self.cell.uplink
        snr = uplink.radio.snr(1.0, uplink.band_hz) * self._mean_cn0_hz["up"]
        return [
            rows.Client(
                client_id,
                0,
                self.device(client_id).name,
                float(self._x_m[client_id]),
                float(self._y_m[client_id]),
                float(self._distance_m[client_id]),
                bool(self._is_line_of_sight[client_id]),
                linear_to_db(float(snr[client_id])),
                int(self.num_samples[client_id]),
                float(self.data_weights[client_id]),
            )
            for client_id in range(len(self))
        ]

    def _place(self) -> None:
        """Draw places, line of sight and shadowing, each from a stream of its own."""
        config, cell, seed = self.config, self.cell, self._seed
        num_clients, model = config.num_clients, cell.path_loss
        placed = config.placement.place(num_clients, stream(seed, "placement"))
        self._x_m, self._y_m = placed
        self._distance_m = np.hypot(self._x_m, self._y_m)
        sight = stream(seed, "line-of-sight").random(num_clients)
        shadow = stream(seed, "shadowing").standard_normal(num_clients)
        self._is_line_of_sight = np.zeros(num_clients, dtype=bool)
        loss_db = np.empty(num_clients)
        for n, distance_m in enumerate(self._distance_m.tolist()):
            is_sight = sight[n] < model.line_of_sight_probability(distance_m)
            self._is_line_of_sight[n] = is_sight
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
        gain_dbi = self.cell.antenna_gain_dbi + self.config.antenna_gain_dbi
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

"""The device of each client, and its compute times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fl.contract import Work
from netsim.core.clock import to_ns
from netsim.core.quantities import format_quantity
from netsim.core.streams import stream
from netsim.devices.catalogue import DeviceMix
from netsim.devices.device import Device, jitter_factor, spread_factor
from netsim.errors import InputError
from netsim.population.config import PopulationConfig

FloatArray = npt.NDArray[np.float64]
Value = TypeVar("Value")


class Fleet:
    """The drawn devices; clients of one kind share one ``Device``."""

    def __init__(self, config: PopulationConfig, seed: int) -> None:
        self._config = config
        self._seed = seed
        mix = DeviceMix(choices=config.devices)
        self.kinds = mix.devices
        self._device_index = mix.draw(config.num_clients, stream(seed, "devices"))
        self._last: dict[int, tuple[Work, float]] = {}  # work of a kind, and its time

    def device(self, client_id: int) -> Device:
        """Return a client's device."""
        return self.kinds[self._device_index.item(client_id)]

    def kind_of(self, client_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the places of clients' devices in ``kinds``."""
        return np.asarray(self._device_index[client_ids], np.int64)

    def per_client(self, values: Sequence[Value]) -> list[Value]:
        """Return one value per client from one value per entry of ``kinds``."""
        return [values[index] for index in self._device_index.tolist()]

    def expected_compute_s(self, client_id: int, work: Work) -> float:
        """Return a computation's duration without jitter, in seconds."""
        kind = self._device_index.item(client_id)
        known, seconds = self._last.get(kind, (None, 0.0))
        if known is not work:
            seconds = self.kinds[kind].compute_time_s(work)
            self._last[kind] = work, seconds
        spread = self._config.speed_spread
        if spread is None:
            return seconds
        return seconds * spread_factor(self._seed, client_id, spread)

    def expected_computes_s(self, works: Sequence[Work]) -> FloatArray:
        """Return every client's durations without jitter, in seconds: a column for
        each work."""
        kinds = [[one.compute_time_s(work) for work in works] for one in self.kinds]
        every = np.array(kinds)[self._device_index]
        spread = self._config.speed_spread
        if spread is None:
            return np.asarray(every)
        factors = [spread_factor(self._seed, n, spread) for n in range(len(every))]
        return np.asarray(every * np.array(factors)[:, None])

    def memories_bytes(self) -> npt.NDArray[np.int64]:
        """Return the memory of every client's device, in bytes."""
        return np.array([device.memory_bytes for device in self.kinds])[
            self._device_index
        ]

    def device_names(self) -> npt.NDArray[np.object_]:
        """Return the name of every client's device."""
        names = np.array([device.name for device in self.kinds], dtype=object)
        return np.asarray(names[self._device_index])

    def compute_ns(self, client_id: int, occasion: int, work: Work) -> int:
        """Return a computation's ticks; ``occasion`` selects the draw of the jitter."""
        jitter = jitter_factor(
            self._seed, client_id, occasion, self._config.compute_jitter
        )
        return to_ns(self.expected_compute_s(client_id, work) * jitter)

    def require_memory(self, needed_bytes: Callable[[Device], int]) -> None:
        """Raise ``InputError`` if a drawn device has too little memory to train."""
        for index in np.flatnonzero(np.bincount(self._device_index)):
            device = self.kinds[index]
            memory_bytes = needed_bytes(device)
            if device.memory_bytes < memory_bytes:
                raise InputError(
                    f"population.devices: {device.name} has "
                    f"{format_quantity(device.memory_bytes, 'B')} of memory, local "
                    f"training needs {format_quantity(memory_bytes, 'B')}; take a "
                    "smaller model or batch, or leave this device out"
                )

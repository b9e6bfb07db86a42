"""Scenarios whose speeds, band or jitter are multiplied: what a study asks of its own
assumptions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from netsim.core.streams import stream
from netsim.cosim.scenario import Scenario
from netsim.devices.catalogue import DeviceChoice
from netsim.devices.device import Device
from netsim.devices.fitting import COVERAGE
from netsim.errors import InputError
from netsim.network.cell import Cell
from netsim.population import PopulationConfig

NUM_DRAWS = 10
MOST_JITTER = 5.0  # what a scenario admits
AS_IT_IS, DRAW = "as it is", "draw"


@dataclass(frozen=True, slots=True)
class Factors:
    """What is multiplied, and what that is called; ``slowness`` is that of each device
    by its name, of those without an entry ``others``."""

    name: str
    slowness: Mapping[str, float] = field(default_factory=dict)
    others: float = 1.0
    band: float = 1.0
    jitter: float = 1.0

    def of(self, scenario: Scenario) -> Scenario:
        """Return a scenario with these factors, all else being equal."""
        population = self._population(scenario.population)
        changed: dict[str, object] = {"population": population}
        if scenario.cell is not None:
            changed["cell"] = self._cell(scenario.cell)
        if scenario.cells is not None:
            changed["cells"] = tuple(map(self._cell, scenario.cells))
        return scenario.model_copy(update=changed)

    def _population(self, population: PopulationConfig) -> PopulationConfig:
        devices = tuple(
            DeviceChoice.model_construct(
                device=slower(
                    one.device, self.slowness.get(one.device.name, self.others)
                ),
                share=one.share,
            )
            for one in population.devices
        )
        jitter = min(population.compute_jitter * self.jitter, MOST_JITTER)
        changed = {"devices": devices, "compute_jitter": jitter}
        return population.model_copy(update=changed)

    def _cell(self, cell: Cell) -> Cell:
        bands = {
            name: band.model_copy(update={"band_hz": round(band.band_hz * self.band)})
            for name, band in (("uplink", cell.uplink), ("downlink", cell.downlink))
        }
        return cell.model_copy(update=bands)


HALVED_AND_DOUBLED = tuple(
    Factors(f"{name} x {factor:g}", **{key: value})  # type: ignore[arg-type]
    for name, key in (("efficiency", "others"), ("band", "band"), ("jitter", "jitter"))
    for factor in (0.5, 2.0)
    for value in [1 / factor if key == "others" else factor]
)


def slower(device: Device, factor: float) -> Device:
    """Return a device that computes ``factor`` times as long."""
    rates = (
        "peak_flop_per_s",
        "half_rate_flop_per_s",
        "product_bandwidth_bytes_per_s",
        "other_bandwidth_bytes_per_s",
        "large_bandwidth_bytes_per_s",
    )
    given = {name: getattr(device, name) for name in rates}
    changed = {n: rate / factor for n, rate in given.items() if rate is not None}
    for name in ("fixed_time_s", "launch_time_s", "block_time_s"):
        changed[name] = getattr(device, name) * factor
    return device.model_copy(update=changed)


def drawn(scenarios: Iterable[Scenario], num_draws: int = NUM_DRAWS) -> list[Factors]:
    """Return draws of how far each kind of device errs: log-normal factors, four in
    five of them within its doubt, one from each of ``num_draws`` equal parts.

    A kind's factors depend on its name alone, so that scenarios are compared under the
    same ones.
    """
    kinds = {
        one.device.name: one.device for s in scenarios for one in s.population.devices
    }
    factors = {name: _factors(one, num_draws) for name, one in sorted(kinds.items())}
    return [
        Factors(f"{DRAW} {n + 1}", {name: drawn[n] for name, drawn in factors.items()})
        for n in range(num_draws)
    ]


def _factors(device: Device, num_draws: int) -> Sequence[float]:
    if device.doubt is None:
        raise InputError(
            f"population.devices: {device.name} states no doubt, so its times have no "
            "range; add `doubt`, the factor within which four in five of them lie"
        )
    sigma = math.log(device.doubt) / NormalDist().inv_cdf((1 + COVERAGE) / 2)
    parts = stream(0, "doubt", device.name).permutation(num_draws).tolist()
    middles = [NormalDist().inv_cdf((part + 0.5) / num_draws) for part in parts]
    return [math.exp(sigma * middle) for middle in middles]

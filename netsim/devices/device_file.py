"""Device files, as ``netsim calibrate`` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from netsim.core.quantities import Bytes, Flop, FlopPerSecond, Seconds, Watts
from netsim.devices.device import Bandwidth, Basis, Device, PowerBasis
from netsim.scenario.loader import load
from netsim.scenario.record import Record

SUFFIXES = (".yaml", ".yml")
PATTERN = r"\.ya?ml$"  # of a file's name
NO_POWERS = "power not known: its energy counts as zero"


class Calibration(Record):
    """The origin of the figures: host, date, software versions and timings."""

    host: str
    date: str
    versions: dict[str, str]
    scenario: str
    model: str
    computes_on: str  # cpu, cuda:0
    threads: int = Field(ge=1)
    samples_per_step: int = Field(ge=1)
    flop_per_step: Flop  # counted on the model
    step_time_s: Seconds  # of the fastest trial
    steps_per_trial: int = Field(ge=1)
    trials_s: tuple[Seconds, ...] = Field(min_length=1)
    peak: str  # measured or given
    clock: str = "wall clock"
    command: str = ""  # that measured


class DeviceFile(Record):
    """The fields of a device; an unknown power is null."""

    name: str = Field(min_length=1)
    peak_flop_per_s: Annotated[FlopPerSecond, Field(gt=0)]
    efficiency: float = Field(gt=0, le=1)
    memory_bytes: Annotated[Bytes, Field(gt=0)]
    compute_power_w: Annotated[Watts, Field(ge=0)] | None
    idle_power_w: Annotated[Watts, Field(ge=0)] | None
    transmit_efficiency: float = Field(default=0.35, gt=0, le=1)
    fixed_time_s: Annotated[Seconds, Field(ge=0)] = 0.0
    launch_time_s: Annotated[Seconds, Field(ge=0)] = 0.0
    block_time_s: Annotated[Seconds, Field(ge=0)] = 0.0
    half_rate_flop_per_s: Annotated[FlopPerSecond, Field(gt=0)] | None = None
    product_bandwidth_bytes_per_s: Bandwidth | None = None
    other_bandwidth_bytes_per_s: Bandwidth | None = None
    large_bandwidth_bytes_per_s: Bandwidth | None = None
    software: str = ""
    basis: Basis = "assumed"
    power_basis: PowerBasis = "assumed"
    doubt: float | None = Field(default=None, ge=1)
    source: str = ""
    calibration: Calibration | None = None

    def device(self) -> Device:
        """Return the device; an unknown power counts as zero, and ``source`` notes
        that."""
        powers = (self.compute_power_w, self.idle_power_w)
        notes = [self.source, NO_POWERS if None in powers else ""]
        given = self.model_dump(exclude={"calibration"}, by_alias=False)
        given["source"] = "; ".join(note for note in notes if note)
        for name in ("compute_power_w", "idle_power_w"):
            if given[name] is None:
                given |= {name: 0.0, "power_basis": "not known"}
        return Device(**given)


def read_device(path: Path) -> Device:
    """Return the device of a file; raise ``InputError`` if the file is invalid."""
    return load(path, DeviceFile).device()

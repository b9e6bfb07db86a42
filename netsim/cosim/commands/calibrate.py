"""This host as a device: measured by the learning half, written for the network's."""

from __future__ import annotations

import datetime
import platform
from dataclasses import dataclass
from pathlib import Path

from fl.calibration import Measured, measure
from fl.model.device import resolved
from netsim.core.files import write_atomically
from netsim.cosim.input_errors import as_input_error, failures_as_input_errors
from netsim.cosim.learning_kinds import LoraLearning
from netsim.cosim.scenario import Scenario
from netsim.devices.device_file import SUFFIXES, Calibration, DeviceFile
from netsim.errors import InputError
from netsim.runs.manifest import versions
from netsim.scenario import dump

CPU_INFO = Path("/proc/cpuinfo")
HEADER = """\
# This host as a device, written by `netsim calibrate` and measured once; a scenario
# in the same folder takes it by `devices: [{{device: {name}}}]`. A run reads these
# figures and never a clock. Efficiency is what training reached of the peak; a power
# that is null is not known, and its energy counts as zero.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a person asks for; what is None is measured, or left unknown."""

    out: Path
    name: str | None = None
    threads: int | None = None
    trials: int = 5
    peak_flop_per_s: float | None = None
    memory_bytes: int | None = None
    compute_power_w: float | None = None
    idle_power_w: float | None = None
    command: str = ""


def calibrated(scenario: Scenario, request: Request) -> DeviceFile:
    """Time the scenario's local training on this host and write it as a device."""
    learning = scenario.learning.federated
    if learning is None:
        raise InputError(
            "learning: trains nothing that could be timed; take a scenario whose "
            "learning is of kind 'lora', such as quickstart"
        )
    require_new(request.out)
    with as_input_error("learning.device"):
        device = resolved(learning.device)
    with failures_as_input_errors(), as_input_error("learning"):
        found = measure(
            learning.settings,
            device=device,
            threads=request.threads,
            trials=request.trials,
        )
    entry = _entry(scenario, learning, request, found)
    write_device(entry, request.out, HEADER)
    return entry


def write_device(entry: DeviceFile, path: Path, header: str) -> None:
    """Write a device file under a comment, which names the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (header.format(name=path.name) + dump(entry)).encode())


def require_new(path: Path) -> None:
    """Raise ``InputError`` unless a new device file can be written there."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out must end in .yaml, got {str(path)!r}")
    if path.exists():
        raise InputError(
            f"--out {path} exists: a device is measured once; choose another file"
        )


def _entry(
    scenario: Scenario, learning: LoraLearning, request: Request, found: Measured
) -> DeviceFile:
    given = request.peak_flop_per_s
    peak = found.product_flop_per_s if given is None else given
    if found.flop_per_s > peak:
        raise InputError(
            f"--peak must be at least the {found.flop_per_s:.4g} FLOP/s that training "
            f"reaches here, got {peak:.4g} FLOP/s"
        )
    return DeviceFile(
        name=request.name or request.out.stem,
        peak_flop_per_s=peak,
        efficiency=found.flop_per_s / peak,
        memory_bytes=request.memory_bytes or found.memory_bytes,
        compute_power_w=request.compute_power_w,
        idle_power_w=request.idle_power_w,
        software=f"netsim, torch {versions().get('torch', '')}",
        basis="measured",
        source=f"{processor()}, measured by netsim calibrate on {today()}",
        calibration=_record(
            scenario,
            learning,
            found,
            is_peak_given=given is not None,
            command=request.command,
        ),
    )


def _record(
    scenario: Scenario,
    learning: LoraLearning,
    found: Measured,
    *,
    is_peak_given: bool,
    command: str,
) -> Calibration:
    how = "best of some matrix products, same precision and threads"
    return Calibration(
        host=f"{platform.node()}: {processor()}, {platform.system()}",
        date=today(),
        versions=versions(),
        scenario=scenario.name,
        model=learning.model_copy(update={"timing_as": None}).timing_model()["time"],
        computes_on=found.device,
        threads=found.threads,
        samples_per_step=found.samples_per_step,
        flop_per_step=found.flop_per_step,
        step_time_s=found.step_s,
        steps_per_trial=found.steps,
        trials_s=found.trials_s,
        peak="given" if is_peak_given else how,
        clock=found.clock,
        command=command,
    )


def processor() -> str:
    """Return what the system calls this host's processor."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    found = names[0] if names else platform.processor() or platform.machine()
    return found.strip()


def today() -> str:
    """Return the date, as a device file has it."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()

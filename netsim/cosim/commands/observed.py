"""Fits a device to a log of observed steps and writes it as a device file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from netsim.cosim.commands.calibrate import Request, require_new, write_device
from netsim.devices.device_file import DeviceFile
from netsim.devices.fitting import Fit, fit
from netsim.devices.observations import Observation, by_setting, read_observations
from netsim.errors import InputError

HEADER = """\
# A device of observed steps, written by `netsim calibrate --observations`; a scenario
# in the same folder takes it by `devices: [{{device: {name}}}]`. A power that is null
# is not known, and its energy counts as zero.
"""
REMEDY = (
    "give flop_per_step, or parameters and tokens_per_step as numbers with a method "
    "(full, lora, head only)"
)


def observed_device(
    log: Path, request: Request, tell: Callable[[str], None] = lambda line: None
) -> tuple[DeviceFile, Fit]:
    """Fit a device to the rows of a log and write it; return it with the errors on
    settings that were left out. ``tell`` is called where rows say no FLOP."""
    require_new(request.out)
    if request.memory_bytes is None:
        raise InputError("--observations needs --memory: the log does not say it")
    rows = _of_one_device(log)
    counted = [one for one in rows if one.flop is not None]
    if not counted:
        raise InputError(f"{log}: no row says its FLOP: {REMEDY}")
    if num_left_out := len(rows) - len(counted):
        tell(f"left out    {num_left_out} of {len(rows)} rows, without FLOP: {REMEDY}")
    known = by_setting(counted)
    found = fit(known)
    entry = DeviceFile(
        name=request.name or request.out.stem,
        peak_flop_per_s=found.law.flop_per_s,
        efficiency=1.0,
        memory_bytes=request.memory_bytes,
        compute_power_w=request.compute_power_w,
        idle_power_w=request.idle_power_w,
        fixed_time_s=found.law.fixed_s,
        software=", ".join(sorted({one.software for one in counted} - {""})),
        basis="fitted" if len(known) > 1 else "measured",
        doubt=found.doubt,
        source=f"{rows[0].device}: {len(known)} settings of {log.name}",
    )
    write_device(entry, request.out, HEADER)
    return entry, found


def _of_one_device(log: Path) -> Sequence[Observation]:
    """Return the rows of a log, which must be of one device."""
    rows = read_observations(log)
    devices = sorted({one.device for one in rows})
    if len(devices) > 1:
        raise InputError(
            f"{log}: must hold one device, got {len(devices)}: {', '.join(devices[:5])}"
        )
    return rows


def error_line(found: Fit) -> str:
    """Return the errors on settings that were left out, for a person."""
    if not found.errors:
        return "error       not known: there is one setting"
    middle, worst = median(found.errors), max(found.errors)
    return (
        f"error       median {middle:.2f}, worst {worst:.2f}: a factor, on each of "
        f"{len(found.errors)} settings left out of the fit"
    )

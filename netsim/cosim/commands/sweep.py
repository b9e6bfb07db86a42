"""This host as a device, measured over several models, batches and lengths."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from statistics import median

from fl.step_times import PRECISIONS, UNSEEN, Setting, StepTime, settings, step_time
from netsim.core.quantities import did_you_mean
from netsim.cosim.commands.calibrate import (
    Request,
    processor,
    require_new,
    today,
    write_device,
)
from netsim.devices.device_file import DeviceFile
from netsim.devices.host_fit import Judged, judged
from netsim.errors import InputError
from netsim.runs.manifest import versions

HEADER = """\
# This host as a device, written by `netsim calibrate --sweep`: a law fitted to many
# settings by CPU time; a scenario beside it takes it by
# `devices: [{{device: {name}}}]`. A power that is null is not known, and its
# energy counts as zero.
"""


def swept_device(
    request: Request, precision: str, tell: Callable[[str], None] = lambda line: None
) -> tuple[DeviceFile, Judged]:
    """Measure all settings of a precision, fit the law and write the device; return it
    with the errors on the half that was left out."""
    require_new(request.out)
    found = []
    for setting in _chosen(precision):
        found.append(step_time(setting, request.threads or 1))
        tell(_line(found[-1]))
    result = judge(found)
    entry = _entry(request, found, result)
    write_device(entry, request.out, HEADER)
    return entry, result


def _chosen(precision: str) -> list[Setting]:
    for known in PRECISIONS:
        if known == precision:
            return settings(known)
    hint = did_you_mean(precision, PRECISIONS)
    raise InputError(
        f"--sweep must be one of {', '.join(PRECISIONS)}, got {precision!r}{hint}"
    )


def _line(found: StepTime) -> str:
    model, precision, size, length = found.setting
    batch = f"{size} x {length} tokens" if length else f"{size} images"
    return f"{model}, {precision}, {batch}: {found.step_s * 1e3:.4g} ms a step"


def _entry(request: Request, found: Sequence[StepTime], result: Judged) -> DeviceFile:
    law = result.law
    product, other, large = law.bandwidths_bytes_per_s
    return DeviceFile(
        name=request.name or request.out.stem,
        efficiency=1.0,
        memory_bytes=request.memory_bytes or _memory_bytes(),
        compute_power_w=request.compute_power_w,
        idle_power_w=request.idle_power_w,
        software=(
            f"netsim, torch {versions().get('torch', '')}, "
            f"{found[0].setting.precision} base"
        ),
        basis="fitted",
        doubt=float(f"{result.doubt:.3g}"),
        source=(
            f"{platform.node()}: {processor()}, {len(found)} settings measured by "
            f"CPU time on {today()}, {request.threads or 1} threads"
        ),
        peak_flop_per_s=law.peak_flop_per_s,
        half_rate_flop_per_s=law.half_rate_flop_per_s,
        fixed_time_s=law.step_s,
        launch_time_s=law.operation_s,
        block_time_s=law.block_s,
        product_bandwidth_bytes_per_s=product,
        other_bandwidth_bytes_per_s=other,
        large_bandwidth_bytes_per_s=large,
    )


def judge(found: Sequence[StepTime]) -> Judged:
    """Return the law of step times and its errors; one family is never fitted to."""
    return judged(
        [one.work for one in found],
        [one.step_s for one in found],
        [one.setting.model == UNSEEN for one in found],
    )


def error_line(result: Judged) -> str:
    """Return the errors on settings that were left out, of the law and of one rate."""
    law, rate = result.errors, result.one_rate_errors
    return (
        f"error       median {median(law):.2f}, worst {max(law):.2f}: a factor, on "
        f"each of {len(law)} settings left out of the fit; of a single rate "
        f"{median(rate):.2f}, {max(rate):.2f}"
    )


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

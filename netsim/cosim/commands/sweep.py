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

BOTH = "both"
HEADER = """\
# This host as a device, written by `netsim calibrate --sweep`: a law fitted to many
# settings by CPU time; a scenario beside it takes it by
# `devices: [{{device: {name}}}]`. A power that is null is not known, and its
# energy counts as zero.
"""


def swept_device(
    request: Request, precision: str, tell: Callable[[str], None] = lambda line: None
) -> tuple[DeviceFile, Judged]:
    """Measure all settings of a precision, or of both, and write the device of the law;
    return it with the errors on the half that was left out."""
    require_new(request.out)
    chosen = _chosen(precision)
    found = []
    for setting in chosen:
        found.append(step_time(setting, request.threads or 1))
        tell(_line(found[-1]))
    result = judge(found)
    entry = _entry(request, found, result)
    write_device(entry, request.out, HEADER)
    return entry, result


def _chosen(precision: str) -> list[Setting]:
    known = (BOTH, *PRECISIONS)
    if precision not in known:
        hint = did_you_mean(precision, known)
        raise InputError(
            f"--sweep must be one of {', '.join(known)}, got {precision!r}{hint}"
        )
    return [
        setting
        for one in PRECISIONS
        if precision in (one, BOTH)
        for setting in settings(one)
    ]


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
            f"{' or '.join(dict.fromkeys(result.precisions))} base"
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
        precisions=[one.setting.precision for one in found],
        is_unseen=[one.setting.model == UNSEEN for one in found],
    )


def error_lines(result: Judged) -> list[str]:
    """Return per precision the errors on settings that were left out, of the law and of
    one rate."""
    lines = []
    rows = list(
        zip(result.precisions, result.errors, result.one_rate_errors, strict=True)
    )
    for precision in dict.fromkeys(result.precisions):
        law = [error for one, error, _ in rows if one == precision]
        rate = [error for one, _, error in rows if one == precision]
        lines.append(
            f"error       median {median(law):.2f}, worst {max(law):.2f}: a factor, on "
            f"each of {len(law)} settings in {precision} left out of the fit; of a "
            f"single rate {median(rate):.2f}, {max(rate):.2f}"
        )
    return lines


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

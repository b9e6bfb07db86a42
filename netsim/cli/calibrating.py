"""``netsim calibrate``: this host's training speed as a device for scenarios."""

from __future__ import annotations

import json as json_format
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from netsim.cli.options import (
    AllowCodeOption,
    JsonOption,
    SetOption,
    overrides,
    user_code,
)
from netsim.core.quantities import QUANTITIES, format_quantity
from netsim.cosim.commands.calibrate import Request, calibrated
from netsim.cosim.commands.observed import error_line, observed_device
from netsim.cosim.reading import read_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.devices.device_file import DeviceFile
from netsim.errors import InputError

DeviceFileOption = Annotated[
    Path, typer.Option(help="The device's file, such as my-host.yaml.")
]
NameOption = Annotated[
    str | None, typer.Option(help="The device's name; the file's by default.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Of torch; as many as it takes by itself.")
]
TrialsOption = Annotated[
    int, typer.Option(min=1, help="Participations to time; the fastest counts.")
]
PeakOption = Annotated[
    str | None,
    typer.Option(metavar="SPEED", help="As '1 TFLOP/s'; measured on matrix products."),
]
MemoryOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="As '8 GB'; this host's own.")
]
ComputePowerOption = Annotated[
    str | None, typer.Option(metavar="POWER", help="While it trains, as '12 W'.")
]
IdlePowerOption = Annotated[
    str | None, typer.Option(metavar="POWER", help="While it waits, as '3 W'.")
]


def calibrate(
    out: DeviceFileOption,
    scenario: Annotated[
        str | None, typer.Argument(help="A YAML file, or a shipped scenario's name.")
    ] = None,
    observations: Annotated[
        Path | None,
        typer.Option(
            help="A CSV file of observed steps, in place of a scenario: device, "
            "step_seconds, flop_per_step."
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="PRECISION",
            help="Time seven small models in 52 settings per precision, in place of a "
            "scenario: float32, bfloat16 or both.",
        ),
    ] = None,
    set_: SetOption = None,
    name: NameOption = None,
    threads: ThreadsOption = None,
    trials: TrialsOption = 5,
    peak: PeakOption = None,
    memory: MemoryOption = None,
    compute_power: ComputePowerOption = None,
    idle_power: IdlePowerOption = None,
    json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Time this host's training once and write it as a device for scenarios."""
    if sum(one is not None for one in (scenario, sweep, observations)) != 1:
        raise InputError(
            "calibrate: needs a scenario, --sweep or --observations, one of them"
        )
    memory_bytes = quantity("--memory", memory, "B")
    request = Request(
        out=out,
        name=name,
        threads=threads,
        trials=trials,
        peak_flop_per_s=quantity("--peak", peak, "FLOP/s"),
        memory_bytes=None if memory_bytes is None else int(memory_bytes),
        compute_power_w=quantity("--compute-power", compute_power, "W"),
        idle_power_w=quantity("--idle-power", idle_power, "W"),
        command=shlex.join(["netsim", *sys.argv[1:]]),
    )
    if observations is not None:
        entry = _of_log(observations, request)
    elif sweep is not None:
        entry = _of_sweep(sweep, request)
    else:
        assert scenario is not None
        changed, code = overrides(set_), user_code(allow_code)
        entry = _of_scenario(
            read_scenario(find_scenario(scenario), changed, code), request
        )
    if json:
        typer.echo(json_format.dumps(_report(entry, out)))


def _report(entry: DeviceFile, path: Path) -> dict[str, str | float]:
    return {
        "device": str(path),
        "flop_per_s": entry.peak_flop_per_s * entry.efficiency,
        "efficiency": entry.efficiency,
    }


def _of_scenario(config: Scenario, request: Request) -> DeviceFile:
    entry = calibrated(config, request)
    for line in _lines(entry, request.out):
        typer.echo(line)
    return entry


def _of_log(log: Path, request: Request) -> DeviceFile:
    entry, found = observed_device(log, request, typer.echo)
    speed = format_quantity(entry.peak_flop_per_s, "FLOP/s")
    typer.echo(f"speed       {speed}, and {entry.fixed_time_s:.3g} s a step")
    typer.echo(error_line(found))
    typer.echo(f"device      {request.out}")
    return entry


def _of_sweep(precision: str, request: Request) -> DeviceFile:
    from netsim.cosim.commands.sweep import error_lines, swept_device  # brings torch

    entry, result = swept_device(request, precision, partial(typer.echo, err=True))
    half = entry.half_rate_flop_per_s or entry.peak_flop_per_s
    typer.echo(
        f"speed       {format_quantity(entry.peak_flop_per_s, 'FLOP/s')}, "
        f"{format_quantity(half, 'FLOP/s')} of 16-bit products"
    )
    for line in error_lines(result):
        typer.echo(line)
    typer.echo(f"device      {request.out}, {entry.device().certainty}")
    return entry


def quantity(option: str, text: str | None, base: str) -> float | int | None:
    """Return the SI number of an option's text, such as ``12 W``."""
    if text is None:
        return None
    try:
        value = QUANTITIES[base].parse(text)
    except InputError as error:
        raise InputError(f"{option} {error}") from error
    if not value > 0:
        raise InputError(f"{option} must be above zero, got {text!r}")
    return value


def _lines(entry: DeviceFile, path: Path) -> list[str]:
    found = entry.calibration
    assert found is not None
    achieved = format_quantity(entry.peak_flop_per_s * entry.efficiency, "FLOP/s")
    peak = format_quantity(entry.peak_flop_per_s, "FLOP/s")
    trials = [format_quantity(s, "s", num_digits=3) for s in found.trials_s]
    lines = [
        f"model       {found.model}",
        f"trained on  {found.computes_on}, {found.threads} threads, "
        f"{found.samples_per_step} samples a step",
        f"step        {format_quantity(found.step_time_s, 's')} for "
        f"{format_quantity(found.flop_per_step, 'FLOP')} counted; trials of "
        f"{found.steps_per_trial} steps: {', '.join(trials)}",
        f"speed       {achieved}, {entry.efficiency:.1%} of {peak} ({found.peak})",
        f"device      {path}",
    ]
    if None in (entry.compute_power_w, entry.idle_power_w):
        lines.append(
            "note: a power is not known, so its energy counts as zero; give "
            "--compute-power and --idle-power, or write them into the file"
        )
    return lines

"""``netsim schema`` and ``netsim list``: what a scenario may say."""

from __future__ import annotations

import inspect
import json
from typing import Annotated

import typer
from pydantic import BaseModel

from netsim.cli import completing
from netsim.core.quantities import did_you_mean, format_quantity
from netsim.cosim import shipped
from netsim.cosim.commands.choices import SEAMS, Seam
from netsim.cosim.scenario import Scenario
from netsim.devices.catalogue import DEVICES
from netsim.devices.device import Device
from netsim.errors import InputError
from netsim.network.presets import presets
from netsim.scenario import json_schema
from netsim.scenario.explain import explain as explained
from netsim.scenario.installed import installed, of_no_seam
from netsim.study.record import StudyConfig
from netsim.tune.search import TuneConfig


def schema_text(model: type[BaseModel] = Scenario) -> str:
    """Return the JSON Schema of a file that is read as ``model``, as text."""
    return json.dumps(json_schema(model), indent=2, ensure_ascii=False) + "\n"


def schema(
    study: Annotated[bool, typer.Option("--study", help="Of a study file.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Of a tune file.")] = False,
) -> None:
    """Print the JSON Schema of a scenario, for editors."""
    if study and tune:
        raise InputError("schema: --study or --tune, not both")
    model = StudyConfig if study else TuneConfig if tune else Scenario
    typer.echo(schema_text(model), nl=False)


def explain(
    path: Annotated[
        str,
        typer.Argument(
            help="As server.sampling.", autocompletion=completing.setting_paths
        ),
    ] = "",
) -> None:
    """Say what a key of a scenario may hold: type, unit, limits, default, kinds."""
    for line in explained(json_schema(Scenario), path):
        typer.echo(line)


def list_choices(
    seam: Annotated[
        str,
        typer.Argument(help="As aggregation.", autocompletion=completing.seams),
    ] = "",
    kind: Annotated[str, typer.Argument(help="One of its kinds: in full.")] = "",
) -> None:
    """List every choice that a scenario has, one line each; of one seam alone, or one
    kind with its keys."""
    if not seam:
        _list_all()
    elif kind:
        _show_kind(_seam(seam), kind)
    else:
        _list_seam(_seam(seam))


def _seam(name: str) -> Seam:
    """Return the seam of a name, a title or a path."""
    for seam in SEAMS:
        if name in (seam.name, seam.title, seam.path):
            return seam
    known = [seam.name for seam in SEAMS]
    hint = did_you_mean(name, known)
    raise InputError(f"list: no seam {name!r}{hint} (seams: {', '.join(known)})")


def _show_kind(seam: Seam, kind: str) -> None:
    """Print the description of a kind and its keys."""
    if kind in seam.choices:
        for line in explained(json_schema(seam.choices[kind]), ""):
            typer.echo(line)
        typer.echo(f"  in a scenario: {seam.path}={kind}")
        return
    others = installed(seam.name)
    if kind not in others:
        known = [*seam.choices, *others]
        hint = did_you_mean(kind, known)
        raise InputError(
            f"list {seam.name}: no kind {kind!r}{hint} (kinds: {', '.join(known)})"
        )
    _line(kind, f"{others[kind]}, installed")


def _list_seam(seam: Seam) -> None:
    typer.echo(f"{seam.title}  ({seam.path})")
    for name, cls in seam.choices.items():
        _line(name, _first_sentence(cls))
    for name, place in installed(seam.name).items():
        _line(name, f"{place}, installed")


def _list_all() -> None:
    typer.echo("scenarios  (netsim run NAME)")
    for name in shipped.names():
        _line(name, shipped.headline(name))
    typer.echo("\ntestbeds  (netsim run NAME)")
    for name in shipped.names(shipped.TESTBEDS):
        _line(name, shipped.headline(name, shipped.TESTBEDS))
    typer.echo("\nstudies  (netsim study NAME)")
    for name in shipped.names(shipped.STUDIES):
        _line(name, shipped.headline(name, shipped.STUDIES))
    typer.echo("\nsearches  (netsim tune NAME)")
    for name in shipped.names(shipped.TUNES):
        _line(name, shipped.headline(name, shipped.TUNES))
    for seam in SEAMS:
        typer.echo()
        _list_seam(seam)
    typer.echo("\npresets  (cell.preset)")
    for name, preset in presets().items():
        _line(name, preset.about)
    typer.echo("\ndevices  (population.devices)")
    for device in DEVICES.values():
        _line(device.name, _about(device))
    _list_lost()


def _about(device: Device) -> str:
    speed = format_quantity(device.flop_per_s, "FLOP/s", num_digits=3)
    memory = format_quantity(device.memory_bytes, "B")
    power = f"{device.compute_power_w:g} W ({device.power_basis})"
    return f"{speed} ({device.certainty}), {power}, {memory}; {device.source}"


def _list_lost() -> None:
    """List installed plug-ins that no scenario can choose."""
    known = {seam.name for seam in SEAMS}
    if lost := of_no_seam(known):
        typer.echo(f"\ninstalled, but of no seam  ({', '.join(sorted(known))})")
        for one in lost:
            _line(one.name, one.value + did_you_mean(one.name.partition(".")[0], known))


def _line(name: str, text: str) -> None:
    shown = text if len(text) <= 110 else f"{text[:109]}…"
    typer.echo(f"  {name:<22} {shown}")


def _first_sentence(cls: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())

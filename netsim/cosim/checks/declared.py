"""What a scenario declares: the traits of its choices, and facts about its sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from netsim.network.cell import DIRECTIONS
from netsim.scenario.source import KeyPath
from netsim.scenario.traits import Trait, Traits

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario
    from netsim.network.cell import Cell

# What a section is, whatever is chosen in it.
Fact: TypeAlias = Literal[
    "has-policy",
    "lacks-policy",
    "has-target",
    "lacks-target",
    "targets-validation",
    "has-one-cell",
    "has-several-cells",
    "lists-cells",  # under `cells`, however many
    "has-interference",
    "has-own-links",
    "limits-radios",  # with a width for each client
    "has-battery",
    "has-mobility",
    "changes-cells",
    "places-around-cells",  # around one of several
    "limits-windows",  # of uploads
    "cuts-at-snr",  # an uplink has a minimum SNR
    "broadcasts",
    "loses-messages",
    "gives-up-in-outage",
    "exchanges-versions",  # edge servers and the cloud do, over a backhaul
]


class Declared(NamedTuple):
    """One trait or fact, the setting that causes it, and the kind that declares it."""

    trait: Trait | Fact
    path: KeyPath
    kind: str = ""

    @property
    def dotted(self) -> str:
        """Return the setting as a person writes it."""
        return ".".join(map(str, self.path))


def declared(scenario: Scenario) -> list[Declared]:
    """Return all that a scenario declares, in the order of its sections."""
    return [*_of_choices(scenario), *_of_sections(scenario), *_of_cells(scenario)]


def find(found: list[Declared], *traits: Trait | Fact) -> Declared | None:
    """Return the first of what is declared that is one of these traits."""
    return next((one for one in found if one.trait in traits), None)


def _at(path: KeyPath, kind: str, traits: Traits) -> Iterator[Declared]:
    for trait, key in traits.items():
        keys = key.split(".") if key else ()
        yield Declared(trait, (*path, *keys), kind)


def _of_choices(scenario: Scenario) -> Iterator[Declared]:
    server, availability = scenario.server, scenario.population.availability
    yield from _at(("server",), server.kind, server.traits)
    if server.sampling is not None:
        yield from _at(("server", "sampling"), "", server.sampling.traits)
    yield from _at(("ranks",), scenario.ranks.kind, scenario.ranks.traits)
    if scenario.policy is not None:
        yield from _at(("policy",), scenario.policy.kind, scenario.policy.traits)
    yield from _at(
        ("population", "availability"), availability.kind, availability.traits
    )
    yield from _at(("learning",), scenario.learning.kind, scenario.learning.traits)


def _of_sections(scenario: Scenario) -> Iterator[Declared]:
    for fact, (holds, path) in _facts(scenario).items():
        if holds:
            yield Declared(fact, path)
    population, has_one = scenario.population, len(scenario.network.cells) == 1
    if population.placement is not None:
        path = ("population", "placement")
        yield from _at(path, "", population.placement.traits)
        if population.placed_around == "cells" and not has_one:
            yield Declared("places-around-cells", ("population", "placed_around"))


def _facts(scenario: Scenario) -> dict[Fact, tuple[bool, KeyPath]]:
    """Return what holds for the sections of a scenario, and where it is written."""
    population, cells = scenario.population, scenario.network.cells
    is_single, moves = len(cells) == 1, population.mobility.interval_s is not None
    mobility = ("population", "mobility")
    wires = any(cell.backhaul is not None for cell in cells)
    has_edges = "has-edges" in scenario.server.traits
    has_radio_band, target = population.radio_band_hz is not None, scenario.stop.target
    return {
        "has-policy": (scenario.policy is not None, ("policy",)),
        "lacks-policy": (scenario.policy is None, ()),
        "has-target": (target is not None, ("stop", "target")),
        "lacks-target": (target is None, ("stop",)),
        "targets-validation": (
            target is not None and target.split == "validation",
            ("stop", "target", "split"),
        ),
        "has-one-cell": (is_single, ("cell",)),
        "has-several-cells": (not is_single, ("cells",)),
        "lists-cells": (scenario.cell is None, ("cells",)),
        "has-interference": (scenario.interference is not None, ("interference",)),
        "has-own-links": (population.links is not None, ("population", "links")),
        "limits-radios": (has_radio_band, ("population", "radio_band")),
        "has-battery": (population.battery is not None, ("population", "battery")),
        "has-mobility": (moves, mobility),
        "changes-cells": (moves and not is_single, mobility),
        "exchanges-versions": (has_edges and wires, ("server",)),
    }


def _of_cells(scenario: Scenario) -> Iterator[Declared]:
    for path, cell in scenario.placed_cells():
        sharing = cell.uplink.sharing
        yield from _at((*path, "uplink", "sharing"), sharing.kind, sharing.traits)
        if cell.uplink.minimum_snr_db is not None:
            yield Declared("cuts-at-snr", (*path, "uplink", "minimum_snr"))
        if cell.uplink.transport.pace is not None:
            yield Declared("limits-windows", (*path, "uplink", "transport"))
        if cell.downlink.mode == "broadcast":
            yield Declared("broadcasts", (*path, "downlink", "mode"))
        yield from _of_bands(path, cell)


def _of_bands(path: KeyPath, cell: Cell) -> Iterator[Declared]:
    for direction in DIRECTIONS:
        band, place = cell.band(direction), (*path, f"{direction}link")
        if band.errors is not None:
            yield Declared("loses-messages", (*place, "errors"))
        if band.outage_timeout_s is not None:
            yield Declared("gives-up-in-outage", (*place, "outage_timeout"))

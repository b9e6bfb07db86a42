"""Which changes of a scenario need new training, found before the run starts.

The rule: a local training is reused where its recipe is the same, and its recipe is
what the client is sent (so everything merged before), its data and settings. A change
of times alone therefore reuses everything where the server waits for all, draws and
ranks do not look at the network, and the end is a number of rounds or a target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from netsim.cosim.checks.declared import Fact, declared, find
from netsim.cosim.checks.rules import with_article
from netsim.cosim.scenario import Scenario
from netsim.network.cell import DIRECTIONS
from netsim.scenario.difference import Change, changes
from netsim.scenario.traits import Trait

Effect = Literal["nothing", "more", "some", "all"]

KNOWN_ROOTS = frozenset(
    {
        *("name", "seed", "stop", "server", "ranks", "population", "learning"),
        *("cell", "cells", "association", "interference"),
    }
)
TIME_DECIDES: tuple[Trait | Fact, ...] = (  # who is merged, though a server waits
    "takes-first",
    "comes-and-goes",
    "has-battery",
    "has-outages",
)
SERVER_TIMES = frozenset({"announce_time", "merge_time"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one change trains: nothing, more rounds, some, or all."""

    change: Change
    effect: Effect
    reason: str

    def __str__(self) -> str:
        return f"{self.change}: {self.reason}"


def verdicts(before: Scenario, after: Scenario) -> list[Verdict]:
    """Return for every changed path whether it needs new training, and why.

    A run without learning has none.
    """
    if "trains-nothing" in after.learning.traits:
        return []
    return [_verdict(change, before, after) for change in changes(before, after)]


def conclusion(found: Sequence[Verdict]) -> str:
    """Return in one line what the changes together train."""
    effects = {verdict.effect for verdict in found}
    if "all" in effects or "some" in effects:
        return "learning: it trains again what these changes alter"
    if "more" in effects:
        return (
            "learning: the rounds that both runs have are reused, as far as they are "
            "remembered on this machine; others are trained"
        )
    return "learning: all of it is reused, as far as it is remembered on this machine"


Answer = tuple[Effect, str]

ANSWERS: Mapping[str, Answer] = {  # for sections of which all changes are alike
    "name": ("nothing", "a name alone; learning is reused"),
    "seed": ("all", "another seed makes all draws again; trains all"),
    "ranks": (
        "some",
        "the ranks that clients train; trains from the first difference on",
    ),
}
UNKNOWN: Answer = (
    "some",
    "may steer who is merged when; trains from the first difference on",
)


def _verdict(change: Change, before: Scenario, after: Scenario) -> Verdict:
    section = str(change.path[0])
    if section in _JUDGES:
        return Verdict(change, *_JUDGES[section](change, before, after))
    return Verdict(change, *ANSWERS.get(section, UNKNOWN))


def _of_stop(change: Change, before: Scenario, after: Scenario) -> Answer:
    influence = _influence(after)
    if influence:
        return "some", f"the run's end, and {influence!r} may plan for it"
    return "more", "only when the run ends; common rounds are reused"


def _of_server(change: Change, before: Scenario, after: Scenario) -> Answer:
    if change.path[-1] in SERVER_TIMES:
        return _of_times(change, before, after)
    return "some", "who is merged when; trains from the first difference on"


def _of_population(change: Change, before: Scenario, after: Scenario) -> Answer:
    if "num_clients" in change.path:
        return "all", "divides the data otherwise; trains all"
    if {"availability", "battery"} & set(change.path):
        return "some", "who takes part; trains from the first difference on"
    return _of_times(change, before, after)


def _of_cell(change: Change, before: Scenario, after: Scenario) -> Answer:
    if "errors" in change.path:
        return "some", "whose messages are lost; trains from the first difference on"
    return _of_times(change, before, after)


def _of_learning(change: Change, before: Scenario, after: Scenario) -> Answer:
    part = change.path[1] if len(change.path) > 1 else None
    if part in ("aggregation", "server_optimiser"):
        return _of_merging(before, after)
    if part == "secure_aggregation":
        return "nothing", "only what is allowed; learning is reused"
    if part == "on_divergence":
        return "nothing", "only what ends a run; learning is reused"
    if part == "timing_as":
        return _of_times(change, before, after)
    is_whole, policy = "clients" not in change.path, after.policy
    runs_pilots = policy is not None and "runs-pilots" in policy.traits
    if part == "evaluation" and is_whole and runs_pilots:
        return "some", "the loss that pilots read; trains from a new plan on"
    if part == "evaluation" and after.stop.target is not None:
        return "more", "when the target is seen to be met; common rounds are reused"
    if part == "evaluation":
        return "nothing", "only what is measured; learning is reused"
    return "all", "part of what every client trains; trains all"


def _of_merging(before: Scenario, after: Scenario) -> Answer:
    exchanges = [
        learning.settings.exchange(1)
        for learning in (before.learning.federated, after.learning.federated)
        if learning is not None
    ]
    if len(set(exchanges)) > 1:
        return "all", "what clients train and send; trains all"
    return "some", "how updates are merged; trains from the second round on"


def _of_times(change: Change, before: Scenario, after: Scenario) -> Answer:
    """Return what a change of times alone trains, by what depends on times."""
    for scenario in (before, after):
        depends = _dependence(scenario, change)
        if depends:
            return "some", f"times, and {depends}; trains from the first difference on"
    if before.stop.time_s is not None or after.stop.time_s is not None:
        return "more", "times; as many rounds as fit are run, common ones are reused"
    if after.stop.target is not None and "looks-by-clock" in after.learning.traits:
        return "more", "times; the target is looked at by the clock"
    return "nothing", "times alone; learning is reused"


def _dependence(scenario: Scenario, change: Change) -> str:
    """Return the reason why learning depends on such a change; empty if it does not."""
    found = declared(scenario)
    if find(found, "has-deadline", "serves-one-by-one", "has-edges"):
        return f"{with_article(scenario.server.kind)} server merges by them"
    for one in filter(None, (find(found, trait) for trait in TIME_DECIDES)):
        return f"{one.dotted} decides by them who is merged"
    if find(found, "gives-up-in-outage"):
        return "who is in outage for too long is dropped by them"
    if _loses_others(scenario, change):
        return "others may lose messages"
    by_name = "devices" in change.path and find(found, "ranks-by-device")
    if by_name or find(found, "ranks-by-memory"):
        return f"{scenario.ranks.kind!r} ranks look at devices"
    influence = _influence(scenario)
    return f"{influence!r} may look at them" if influence else ""


def _loses_others(scenario: Scenario, change: Change) -> bool:
    """Return whether such a change may lose other messages: by their size, by their
    cell, or as a broadcast."""
    cells = scenario.network.cells
    airs = [cell.band(direction) for cell in cells for direction in DIRECTIONS]
    errors = [air.errors for air in airs if air.errors is not None]
    if not errors:
        return False
    by_size = any(one.packet_error_rate is not None for one in errors)
    is_by_size = "timing_as" in change.path and by_size
    return len(cells) > 1 or is_by_size or "mode" in change.path


def _influence(scenario: Scenario) -> str:
    """Return the name of another section that may influence the run; empty if none."""
    names = (name for name in type(scenario).model_fields if name not in KNOWN_ROOTS)
    return next((n for n in names if getattr(scenario, n) is not None), "")


_JUDGES: dict[str, Callable[[Change, Scenario, Scenario], Answer]] = {
    "stop": _of_stop,
    "server": _of_server,
    "population": _of_population,
    "cell": _of_cell,
    "cells": _of_cell,
    "association": _of_times,
    "interference": _of_times,
    "learning": _of_learning,
}

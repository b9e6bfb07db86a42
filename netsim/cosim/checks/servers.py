"""What a server's way of working does not go with, in the rest of a scenario."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netsim.errors import Refusal
from netsim.network.cell import DIRECTIONS

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario
    from netsim.server.story import ServerStory

ASYNCHRONOUS = frozenset({"asynchronous", "buffered"})  # they have no rounds


def merges_the_late(server: ServerStory) -> bool:
    """Return whether updates may be merged that began with an earlier round."""
    return getattr(server, "late", "drop") == "next-round"


def meets_old_versions(server: ServerStory) -> bool:
    """Return whether updates may be merged that began from an older version."""
    return server.kind in ASYNCHRONOUS or merges_the_late(server)


def what_defies_plans(server: ServerStory) -> str:
    """Return the setting by which a round is over before all have arrived whom a plan
    counts on, other than by a deadline; nothing where there is none."""
    if getattr(server, "merge_first", None) is not None:
        return "merge_first"
    return "late: next-round" if merges_the_late(server) else ""


def what_makes_times_count(scenario: Scenario) -> str:
    """Return the path of what makes it a question of time who is merged by a server
    that else waits for everybody; nothing where there is none."""
    has_outages = bool(getattr(scenario.server, "outages", ()))
    return what_thins_rounds(scenario) or ("server.outages" if has_outages else "")


def what_thins_rounds(scenario: Scenario) -> str:
    """Return the path of what leaves out some of those drawn; nothing where there is
    none, deadlines apart."""
    server, population = scenario.server, scenario.population
    reasons = {
        "server.merge_first": getattr(server, "merge_first", None) is not None,
        "population.availability": population.availability.kind != "always",
        "population.battery": population.battery is not None,
    }
    return next((path for path, holds in reasons.items() if holds), "")


def what_loses_messages(scenario: Scenario) -> str:
    """Return the path of what may lose the message of somebody drawn, at whatever
    time; nothing where there is none."""
    for path, cell in scenario.placed_cells():
        for direction in DIRECTIONS:
            air, place = cell.band(direction), ".".join(map(str, path))
            if air.errors is not None:
                return f"{place}.{direction}link.errors"
            if air.outage_timeout_s is not None:
                return f"{place}.{direction}link.outage_timeout"
    return ""


def refused_servers(scenario: Scenario) -> Iterator[Refusal]:
    """Yield where a scenario contradicts its server, and why it does."""
    server = scenario.server
    has_no_rounds = server.kind in ASYNCHRONOUS
    for path, cell in scenario.placed_cells():
        sharing = cell.uplink.sharing
        if sharing.plans_rounds and (has_no_rounds or merges_the_late(server)):
            what = (
                f"{with_article(server.kind)} server has none"
                if has_no_rounds
                else "with `late: next-round` clients of an earlier one still send"
            )
            yield (
                (*path, "uplink", "sharing"),
                f"{sharing.kind!r} divides the band once per round and {what}; use "
                "'processor-sharing'",
            )
        if has_no_rounds and cell.downlink.mode == "broadcast":
            yield (
                (*path, "downlink", "mode"),
                f"{with_article(server.kind)} server serves clients one by one; set "
                "`mode: unicast`",
            )
    yield from _refused_manners(scenario)


def _refused_manners(scenario: Scenario) -> Iterator[Refusal]:
    """Yield what a server that works in rounds asks for in vain."""
    server, population = scenario.server, scenario.population
    is_always = population.availability.kind == "always"
    if getattr(server, "corrects_presence", False) and is_always:
        text = "corrects nothing: with availability 'always' everybody is there"
        yield ("server", "corrects_presence"), text
    first = getattr(server, "merge_first", None)
    if first is not None and first > population.num_clients:
        text = f"must not exceed the {population.num_clients} clients, got {first}"
        yield ("server", "merge_first"), text


def with_article(kind: str) -> str:
    """Return a kind in quotes, with the article that goes before it."""
    return f"an {kind!r}" if kind[0] in "aeiou" else f"a {kind!r}"

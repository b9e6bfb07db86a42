"""Rounds that together take longer than the clock counts, as far as settings tell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fl.contract import Work
from netsim.core.quantities import MAX_S
from netsim.errors import InputError, Refusal
from netsim.learner.learner import Learner, first_job

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario
    from netsim.learner.stop import Stop
    from netsim.network.cell import Cell
    from netsim.scenario.source import KeyPath

Waits = dict[tuple[str | int, ...], float]  # seconds of each round, by setting


def too_long(scenario: Scenario, compute_s: float = 0.0) -> Iterator[Refusal]:
    """Yield the longest wait of a round, where the rounds that the run needs take more
    than the 292 years of its clock even on the fastest client."""
    waits = _waits(scenario, compute_s)
    round_s = _total_s(waits)
    num_rounds = _num_rounds(scenario.stop, round_s)
    if num_rounds * round_s > MAX_S:
        path = max(waits, key=lambda one: waits[one])
        yield (
            path,
            f"takes {waits[path]:g} s of each round, and {num_rounds:g} such rounds "
            f"of {round_s:g} s take more than 292 years of simulated time; shorten it",
        )


def require_time(scenario: Scenario, learner: Learner) -> None:
    """Raise ``InputError`` where the work of a learner makes a run too long for its
    clock, or all that takes place takes no time and only a time ends the run."""
    work = learner.work(first_job(learner))
    choices = scenario.population.devices
    compute_s = min(choice.device.compute_time_s(work) for choice in choices)
    for path, text in too_long(scenario, compute_s):
        raise InputError(f"{'.'.join(map(str, path))}: {text}")
    if _is_timeless(scenario, learner, work):
        raise InputError(
            "stop.time: is never reached, for no round takes simulated time; give "
            "sizes, work, `announce_time` or `merge_time` a duration, or set "
            "`stop.rounds`"
        )


def _waits(scenario: Scenario, compute_s: float) -> Waits:
    """Return what each round that merges takes at least, by setting."""
    server, waits = scenario.server, Waits()
    timing = server.round_timing
    if timing is not None:
        waits[("server", "announce_time")] = timing.announce_s
        waits[("server", "merge_time")] = timing.merge_s
    if "waits-for-all" in server.traits:
        has_uplink = scenario.population.links is None
        waits[("population", "devices")] = compute_s
        cells = [_of_cell(p, c, has_uplink) for p, c in scenario.placed_cells()]
        fastest: Waits = min(cells, key=_total_s)
        waits |= fastest
    return waits


def _total_s(waits: Waits) -> float:
    return sum(waits.values())


def _of_cell(path: KeyPath, cell: Cell, has_uplink: bool) -> Waits:
    """Return what a participation in a cell waits for, whatever its size."""
    down, up = cell.downlink, cell.uplink
    waits = {
        (*path, "downlink", "latency"): down.latency_s,
        (*path, "downlink", "transport"): down.transport.delay_s,
    }
    if has_uplink:
        waits[(*path, "uplink", "latency")] = up.latency_s
        waits[(*path, "uplink", "transport")] = up.transport.delay_s
    if cell.backhaul is not None:
        waits[(*path, "backhaul", "latency")] = 2 * cell.backhaul.latency_s
    return waits


def _num_rounds(stop: Stop, round_s: float) -> float:
    """Return how many rounds of this length a run has at least."""
    if stop.target is not None:
        return 1
    num_rounds = math.inf if stop.rounds is None else stop.rounds
    if stop.time_s is not None and round_s:
        num_rounds = min(num_rounds, math.ceil(stop.time_s / round_s))
    return num_rounds if round_s else 1


def _is_timeless(scenario: Scenario, learner: Learner, work: Work) -> bool:
    """Return whether no round takes time, and the run has no other end."""
    stop, population = scenario.stop, scenario.population
    job = first_job(learner)
    bits = sum(learner.bits_down(job, None)) + learner.bits_up(job)
    bands = [cell.band(d) for cell in scenario.network.cells for d in ("down", "up")]
    return (
        stop.rounds is None
        and scenario.server.round_timing is not None
        and "always-there" in population.availability.traits
        and "differs-by-client" not in scenario.learning.traits
        and not any(band.jitter for band in bands)
        and not any(_waits(scenario, 0.0).values())
        and not any(c.device.compute_time_s(work) for c in population.devices)
        and not bits
    )

"""Checks the joules of every task, summed from its transfers and the bands' rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from netsim.core.clock import to_s
from netsim.devices.device import Device
from netsim.trace.rows import Segment, Task, Transfer
from netsim.verify.clock import VirtualTime
from netsim.verify.compare import CLOSE, is_close
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.releases import Releases
from netsim.verify.sent_whole import segments
from netsim.verify.trace import NONE, Array, Mask, Places, Trace, at, grouped, joined

ENERGIES = ("compute_energy_j", "transmit_energy_j", "idle_energy_j")
TICK_J = 1e-7  # what a hundred watts use in one


def check_energies(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield tasks whose energies are not those of their phases and transfers."""
    population = known.population
    power_dbm = population.config.transmit_power_dbm
    rest = ~_are_right(trace, known)
    is_of = joined(trace).messages_of(rest)
    kept = trace.only(
        tasks=rest, transfers=is_of, segments=at(is_of, segments(trace).transfer)
    )
    sent, releases = _sent(kept, known), Releases(kept, known)
    for task in kept.tasks_by_id:
        device = population.fleet.device(task.client_id)
        airtime_ns, full_power_s = sent.get(task.task_id, (0, 0.0))
        compute_s = to_s(_compute_ns(task))
        busy_ns = _present_ns(task) - airtime_ns
        idle = [
            device.idle_energy_j(max(0.0, to_s(busy_ns + until_ns - task.end_ns)))
            for until_ns in releases.of(task)
        ]
        expected = {
            "compute_energy_j": [device.compute_energy_j(compute_s)],
            "transmit_energy_j": [device.transmit_energy_j(power_dbm, full_power_s)],
            "idle_energy_j": idle,
        }
        for name, may_be in expected.items():
            stated = getattr(task, name)
            if not any(_is_near(stated, one) for one in may_be):
                rule = f"{name} must be the device's for its time"
                detail = f"{stated}, computed {may_be[-1]}"
                yield Finding("tasks", f"task {task.task_id}", rule, detail)


def _are_right(trace: Trace, known: Known) -> Mask:
    """Return which tasks have their devices' energies, where clients are always there
    and are released when their round ends, or with their task."""
    both, rounds, fleet = joined(trace), known.rules.rounds, known.population.fleet
    tasks, keeps_late = both.tasks, rounds is not None and rounds.keeps_late
    if known.is_anyone_ever_away or trace.has_edges or keeps_late:
        return np.zeros(len(tasks["rank"]), bool)
    until_ns = tasks["end_ns"] if rounds is None else _round_ends(trace)
    is_right = (tasks["compute_end_ns"] != NONE) & (until_ns >= tasks["end_ns"])
    is_right &= (tasks["staleness"] <= 0) & both.are_unique
    compute_ns = tasks["compute_end_ns"] - tasks["compute_start_ns"]
    airtime_ns, full_s = _airtimes(trace, known)
    idle_ns = until_ns - tasks["download_start_ns"] - compute_ns - airtime_ns
    spans_s = compute_ns / 1e9, full_s, np.maximum(0.0, idle_ns / 1e9)
    powers = zip(*(_powers_w(known, device) for device in fleet.kinds), strict=True)
    kind = fleet.kind_of(tasks["client_id"])
    for name, powers_w, span_s in zip(ENERGIES, powers, spans_s, strict=True):
        right_j = np.array(powers_w)[kind] * span_s
        is_right &= np.isclose(tasks[name], right_j, rtol=CLOSE / 2, atol=1e-15)
    return np.asarray(is_right)


def _powers_w(known: Known, device: Device) -> tuple[float, float, float]:
    """Return what a device takes to compute, to send at full power and to wait."""
    power_dbm = known.population.config.transmit_power_dbm
    sending_w = device.transmit_energy_j(power_dbm, 1.0)
    return device.compute_energy_j(1.0), sending_w, device.idle_energy_j(1.0)


def _round_ends(trace: Trace) -> Array:
    """Return when each task's round ended; its own end where there is no such round."""
    tasks, rounds = trace.columns("tasks"), trace.columns("rounds")
    place = Places(rounds["round_id"]).of(tasks["round_id"])
    return np.where(place >= 0, at(rounds["end_ns"], place), tasks["end_ns"])


def _airtimes(trace: Trace, known: Known) -> tuple[Array, Array]:
    """Return each task's nanoseconds of sending, and its seconds at full power."""
    both, found = joined(trace), segments(trace)
    cells, linked = known.scenario.network.cells, known.scenario.population.links
    has_share = np.where(
        found.rows["pinned_uhz"] == NONE, found.rows["weight"], found.rows["pinned_uhz"]
    )
    spans_ns = found.rows["end_ns"] - found.rows["start_ns"]
    air_ns = found.sums(np.where(has_share > 0, spans_ns, 0))
    held = found.sums(found.held_uhz_ns).astype(float)
    full_hz = [cell.uplink.radio.full_power_hz for cell in cells]
    width = np.array([np.nan if hz is None or linked else hz for hz in full_hz])
    of_cell = width[both.transfers["cell_id"]]
    full_s = np.where(np.isnan(of_cell), air_ns / 1e9, held / (of_cell * 1e15))
    own = (both.transfers["direction"] == "up") & (both.task >= 0)
    size = len(both.tasks["rank"])
    return (
        np.bincount(both.task[own], air_ns[own], size).astype(np.int64),
        np.bincount(both.task[own], full_s[own], size),
    )


def _is_near(stated: float, computed: float) -> bool:
    return is_close(stated, computed) or abs(stated - computed) < TICK_J * 1e-3


def _compute_ns(task: Task) -> int:
    if task.compute_start_ns is None:
        return 0
    end_ns = task.end_ns if task.compute_end_ns is None else task.compute_end_ns
    return end_ns - task.compute_start_ns


def _present_ns(task: Task) -> int:
    """Return the nanoseconds of a task before and after its computation."""
    return task.end_ns - task.download_start_ns - _compute_ns(task)


def _sent(trace: Trace, known: Known) -> dict[int, tuple[int, float]]:
    """Return every task's nanoseconds of sending, and the seconds at full power in
    which as much is radiated."""
    uploads = [row for row in trace.transfers if row.direction == "up"]
    if not uploads:
        return {}
    own_segments: dict[int, list[Segment]] = defaultdict(list)
    for segment in trace.segments:
        own_segments[segment.transfer_id].append(segment)
    bands = grouped(trace.bands, lambda row: (row.cell_id, row.direction))
    virtual = {key: VirtualTime(rows) for key, rows in bands.items()}
    found: dict[int, tuple[int, float]] = {}
    for transfer in uploads:
        if transfer.task_id is None:
            continue
        passed = virtual.get((transfer.cell_id, "up"), VirtualTime([]))
        airtime_ns, held = 0, 0
        for segment in own_segments[transfer.transfer_id]:
            airtime_ns += _airtime_ns(segment)
            held += _held_uhz_ns(segment, passed)
        full_s = _full_power_s(known, transfer, airtime_ns, held)
        before_ns, before_s = found.get(transfer.task_id, (0, 0.0))
        found[transfer.task_id] = before_ns + airtime_ns, before_s + full_s
    return found


def _airtime_ns(segment: Segment) -> int:
    has_share = segment.weight if segment.pinned_uhz is None else segment.pinned_uhz
    return segment.end_ns - segment.start_ns if has_share else 0


def _held_uhz_ns(segment: Segment, passed: VirtualTime) -> int:
    """Return the integral of a segment's share over its time."""
    if segment.pinned_uhz is not None:
        return segment.pinned_uhz * (segment.end_ns - segment.start_ns)
    at: Callable[[int], tuple[int, int]] = passed.at
    return segment.weight * (at(segment.end_ns)[0] - at(segment.start_ns)[0])


def _full_power_s(
    known: Known, transfer: Transfer, airtime_ns: int, held_uhz_ns: int
) -> float:
    if known.scenario.population.links is not None:
        return to_s(airtime_ns)
    uplink = known.scenario.network.cells[transfer.cell_id].uplink
    full_hz = uplink.radio.full_power_hz
    return to_s(airtime_ns) if full_hz is None else held_uhz_ns / (full_hz * 1e15)

"""Checks the joules of every task, summed from its transfers and the bands' rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from netsim.core.clock import to_s
from netsim.trace.rows import Segment, Task, Transfer
from netsim.verify.clock import VirtualTime
from netsim.verify.compare import is_close
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.releases import Releases
from netsim.verify.trace import Trace, grouped

TICK_J = 1e-7  # what a hundred watts use in one


def check_energies(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield tasks whose energies are not those of their phases and transfers."""
    population = known.population
    power_dbm = population.config.transmit_power_dbm
    sent, releases = _sent(trace, known), Releases(trace, known)
    for task in sorted(trace.tasks):
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
    segments: dict[int, list[Segment]] = defaultdict(list)
    for segment in trace.segments:
        segments[segment.transfer_id].append(segment)
    bands = grouped(trace.bands, lambda row: (row.cell_id, row.direction))
    virtual = {key: VirtualTime(rows) for key, rows in bands.items()}
    found: dict[int, tuple[int, float]] = {}
    for transfer in trace.transfers:
        if transfer.direction != "up" or transfer.task_id is None:
            continue
        passed = virtual.get((transfer.cell_id, "up"), VirtualTime([]))
        airtime_ns, held = 0, 0
        for segment in segments[transfer.transfer_id]:
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

"""The cells at work: who is in which, and what crosses the wire behind each."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast

import simpy

from netsim.band import SharedBand
from netsim.network.backhaul import Wire
from netsim.network.cell import Direction
from netsim.trace.literals import Status
from netsim.trace.rows import Crossing

if TYPE_CHECKING:
    from netsim.client.participation import Participation, Process
    from netsim.server.stage import Stage

CellLeg: TypeAlias = tuple[int, Direction]
HANDOVER: Final = "handover"  # the kind of its event


@dataclass(kw_only=True, slots=True)
class Cells:
    """The bands and wires of all cells, by cell and direction."""

    bands: Mapping[CellLeg, SharedBand]
    wires: Mapping[CellLeg, Wire]  # of cells that have a backhaul
    ids: itertools.count[int] = field(default_factory=itertools.count)  # of crossings
    are_servers: bool = False  # a message ends at its base station, no wire is crossed
    last: dict[int, int] = field(default_factory=dict)  # cells of who has moved over

    def close(self) -> None:
        """Write the intervals still open, when the run ends."""
        for band in self.bands.values():
            band.close()


class Load(NamedTuple):
    """What crosses a backhaul; a broadcast is of no task and no client."""

    round_id: int
    bits: int
    task_id: int | None = None
    client_id: int | None = None


def attach(stage: Stage, client_id: int) -> int:
    """Return the cell of a client whose message sets out now, marking a handover; the
    message stays in that cell."""
    radio_map, last = stage.population.radio_map, stage.cells.last
    cell_id = radio_map.cell_at(client_id, stage.env.now)
    before = last.get(client_id, int(radio_map.cell_ids[client_id]))
    if cell_id != before:
        last[client_id] = cell_id
        stage.mark(
            HANDOVER, client_id=client_id, detail=handover_detail(before, cell_id)
        )
    return cell_id


def handover_detail(before: int, after: int) -> str:
    """Return how the event of a handover says between which cells it is."""
    return f"cell {before} to cell {after}"


def cross(
    stage: Stage,
    cell_id: int,
    direction: Direction,
    load: Load,
    ends: Sequence[simpy.Event] = (),
) -> Generator[simpy.Event, object, Status]:
    """Carry a message between base station and server, where a backhaul is between
    them, and return how it ended: done, or late at one of the events that end it."""
    if stage.cells.are_servers:
        return "done"
    return (yield from over_wire(stage, cell_id, direction, load, ends))


def over_wire(
    stage: Stage,
    cell_id: int,
    direction: Direction,
    load: Load,
    ends: Sequence[simpy.Event] = (),
) -> Generator[simpy.Event, object, Status]:
    """Carry a message over the cell's backhaul, if it has one, and return how it ended.

    One that is cut on the way is lost, but has its turn on the wire all the same.
    """
    wire = stage.cells.wires.get((cell_id, direction))
    if wire is None:
        return "done"
    env, start_ns = stage.env, stage.env.now
    status: Status = "done"
    crossing_id, end_ns = next(stage.cells.ids), wire.enter(start_ns, load.bits)
    try:
        way = env.timeout(end_ns - start_ns)
        yield env.any_of([way, *ends]) if ends else way
        status = "done" if env.now >= end_ns else "late"
    except simpy.Interrupt as cut:
        status = cast(Status, cut.cause)
        raise
    finally:
        kept = (crossing_id, cell_id, direction, *load, start_ns, env.now, status)
        stage.recorder.crossings.append(Crossing(*kept))
    return status


def in_every_cell(
    stage: Stage,
    parts: Sequence[Participation],
    serve: Callable[[Sequence[Participation]], Process],
) -> Process:
    """Serve the participants of each cell side by side, and wait for all of them; with
    nobody to serve, serve nobody."""
    groups: dict[int, list[Participation]] = defaultdict(list)
    for part in parts:
        groups[attach(stage, part.client_id)].append(part)
    if len(groups) < 2:
        yield from serve(parts)
        return
    env = stage.env
    yield env.all_of([env.process(serve(own)) for _, own in sorted(groups.items())])

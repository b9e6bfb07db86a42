"""The cell that a message starts in, and the cell's backhaul."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import cast

import simpy

from netsim.band import Message
from netsim.client.participation import Participation
from netsim.client.scene import Scene
from netsim.network.cell import Direction
from netsim.trace.literals import Status
from netsim.trace.rows import Crossing


def attach(scene: Scene, client_id: int) -> int:
    """Return the cell in which a client's message starts now, and mark a handover; the
    message stays in that cell."""
    radio_map, last = scene.population.radio_map, scene.cells.last
    if radio_map.is_static:
        return radio_map.cell_at(client_id, 0)
    cell_id = radio_map.cell_at(client_id, scene.env.now)
    before = last.get(client_id, int(radio_map.cell_ids[client_id]))
    if cell_id != before:
        last[client_id] = cell_id
        detail = f"cell {before} to cell {cell_id}"
        scene.mark("handover", client_id=client_id, detail=detail)
    return cell_id


def by_cell(
    scene: Scene, parts: Sequence[Participation]
) -> list[tuple[int, list[Participation]]]:
    """Return the participants of each cell, in the order of the cells."""
    radio_map = scene.population.radio_map
    if parts and radio_map.is_static and len(radio_map.network.cells) == 1:
        return [(0, list(parts))]
    groups: dict[int, list[Participation]] = defaultdict(list)
    for part in parts:
        groups[attach(scene, part.client_id)].append(part)
    return sorted(groups.items())


def cross(
    scene: Scene,
    cell_id: int,
    direction: Direction,
    message: Message,
    ends: Sequence[simpy.Event] = (),
    *,
    is_between_servers: bool = False,
) -> Generator[simpy.Event, object, Status]:
    """Carry a message over the cell's backhaul, if it has one, and return how it ended:
    done, or late at one of the events ``ends``.

    A message that is cut is lost but keeps its time on the wire.
    """
    wire = scene.cells.wires.get((cell_id, direction))
    ends_at_cell = scene.cells.are_servers and not is_between_servers
    if wire is None or ends_at_cell:
        return "done"
    env, start_ns = scene.env, scene.env.now
    status: Status = "done"
    crossing_id = next(scene.cells.crossing_ids)
    end_ns = wire.enter(start_ns, message.bits)
    try:
        arrival = env.timeout(end_ns - start_ns)
        yield env.any_of([arrival, *ends]) if ends else arrival
        status = "done" if env.now >= end_ns else "late"
    except simpy.Interrupt as cut:
        status = cast(Status, cut.cause)
        raise
    finally:
        row = (crossing_id, cell_id, direction, *message, start_ns, env.now, status)
        scene.recorder.crossings.append(Crossing(*row))
    return status

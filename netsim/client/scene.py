"""What the client processes of a run share: clock, clients, network, learner, trace."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from netsim.band import Medium, OwnLinks, SharedBand
from netsim.client.attendance import Attendance
from netsim.core.engine import Engine
from netsim.learner.learner import Learner
from netsim.network.backhaul import Wire
from netsim.network.cell import Downlink, Uplink
from netsim.policy.context import Seen
from netsim.population import Direction, Population
from netsim.trace.literals import EventKind
from netsim.trace.rows import Event

if TYPE_CHECKING:
    from netsim.trace.writer import Recorder  # brings pyarrow


CellDirection: TypeAlias = tuple[int, Direction]


@dataclass(kw_only=True, slots=True)
class Cells:
    """The bands and wires of all cells, by cell and direction."""

    bands: Mapping[CellDirection, SharedBand]
    wires: Mapping[CellDirection, Wire]  # of cells that have a backhaul
    crossing_ids: itertools.count[int] = field(default_factory=itertools.count)
    are_servers: bool = False  # client messages end at the base station
    last: dict[int, int] = field(default_factory=dict)  # cells of moved clients

    def close(self) -> None:
        """Write the intervals still open, when the run ends."""
        for band in self.bands.values():
            band.close()


@dataclass(kw_only=True)
class Scene:
    """The network half of one run, without the server."""

    env: Engine
    seed: int
    population: Population
    cells: Cells
    links: OwnLinks | None  # the uplink of clients that have measured links
    learner: Learner
    recorder: Recorder
    held_versions: dict[int, str] = field(default_factory=dict)  # received last
    seen: dict[int, Seen] = field(default_factory=dict)  # in merges, by client
    tells_updates: bool = False  # the table ``updates``
    _num_events: int = 0

    def __post_init__(self) -> None:
        self.attendance = Attendance(self.env, self.population, self.seed, self.mark)

    def band(self, cell_id: int, direction: Direction) -> SharedBand:
        """Return a cell's band in one direction."""
        return self.cells.bands[cell_id, direction]

    def air(self, cell_id: int, direction: Direction) -> Uplink | Downlink:
        """Return the configuration of a cell's band in one direction."""
        return self.population.network.cells[cell_id].band(direction)

    def medium(self, cell_id: int, direction: Direction) -> Medium:
        """Return what carries a client's own message: a cell's band, or its link."""
        if direction == "down" or self.links is None:
            return self.cells.bands[cell_id, direction]
        return self.links

    def mark(
        self,
        kind: EventKind,
        *,
        round_id: int | None = None,
        client_id: int | None = None,
        detail: str = "",
    ) -> None:
        """Write an event into the trace, at this tick."""
        self.recorder.events.append(
            Event(self._num_events, self.env.now, kind, round_id, client_id, detail)
        )
        self._num_events += 1

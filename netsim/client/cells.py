"""The bands and the backhaul wires of all cells."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from netsim.band import SharedBand
from netsim.network.backhaul import Wire
from netsim.network.cell import Direction

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

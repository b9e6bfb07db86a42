"""The cells of a scenario, their association and their interference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from netsim.errors import InputError
from netsim.network.cell import Cell
from netsim.scenario import Record

Association = Literal["strongest", "nearest"]


class Interference(Record):
    """Cells whose ids are equal modulo ``reuse`` use the same channel. Each of them
    always sends, so interference is a constant rise of the noise.

    At a client each such cell adds its downlink's mean received power. At a base
    station each such cell adds the power of one device: the mean, over that cell's
    clients at time zero, of their received powers. Each power is spread over its own
    cell's band. ``reuse`` does not change any bandwidth.
    """

    reuse: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class Network:
    """All cells; a cell's id is its index in the list."""

    cells: tuple[Cell, ...]
    association: Association = "strongest"
    interference: Interference | None = None

    def interferers(self, cell_id: int) -> list[int]:
        """Return the ids of the cells that interfere with a cell."""
        if self.interference is None:
            return []
        reuse = self.interference.reuse
        return [
            other
            for other in range(len(self.cells))
            if other != cell_id and (other - cell_id) % reuse == 0
        ]

    def single(self, what: str) -> Cell:
        """Return the only cell; raise ``InputError`` if there are several, because
        ``what`` supports one."""
        if len(self.cells) > 1:
            raise InputError(
                f"cells: {what} supports one band that all clients share, got "
                f"{len(self.cells)} cells; give one `cell`"
            )
        return self.cells[0]

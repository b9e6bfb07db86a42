"""The cells of a scenario: who serves whom, and who disturbs whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from netsim.errors import InputError
from netsim.network.cell import Cell
from netsim.scenario import Record

Association = Literal["strongest", "nearest"]


class Interference(Record):
    """Cells whose places in the list are alike modulo ``reuse`` share a channel, and
    whoever may send there always does: a constant rise of the noise.

    At a client the downlink of every such cell counts, with its mean power there. At a
    base station one device of every such cell counts, with the mean of the powers at
    which that cell's clients would arrive from their first places. Each is spread over
    its own cell's band. ``reuse`` changes no bandwidth: write what each cell has.
    """

    reuse: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class Network:
    """All cells; a cell's id is its place in the list."""

    cells: tuple[Cell, ...]
    association: Association = "strongest"
    interference: Interference | None = None

    def interferers(self, cell_id: int) -> list[int]:
        """Return the cells that disturb this one."""
        if self.interference is None:
            return []
        reuse = self.interference.reuse
        return [
            other
            for other in range(len(self.cells))
            if other != cell_id and (other - cell_id) % reuse == 0
        ]

    def single(self, what: str) -> Cell:
        """Return the one cell, for ``what`` knows no more; else ``InputError``."""
        if len(self.cells) > 1:
            raise InputError(
                f"cells: {what} knows one band that all clients share, got "
                f"{len(self.cells)} cells; give one `cell`"
            )
        return self.cells[0]


def require_names(cells: tuple[Cell, ...]) -> None:
    """Raise ``ValueError`` where two cells have one name."""
    for name, times in Counter(cell.name for cell in cells).items():
        if times > 1:
            raise ValueError(f"{times} cells are called {name!r}; give each its `name`")

"""The root of a scenario: all settings of one run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from netsim.cosim import answers
from netsim.cosim.learning_kinds import LEARNINGS, Learning
from netsim.network.cell import Cell
from netsim.network.cells import Association, Interference, Network
from netsim.policy import RANKS, FullRank, Ranks
from netsim.policy.ranks import ANSWERS as OF_RANKS
from netsim.population import PopulationConfig
from netsim.scenario import OneOf, Record, traits
from netsim.server import POLICIES, SERVERS, Policy, Stop, story
from netsim.server.policies.policy import ANSWERS as OF_POLICIES
from netsim.server.story import ServerStory

AUDITED = frozenset({"rules"})  # what an audit reads of shipped classes only
ServedBy = Annotated[
    ServerStory, OneOf(SERVERS, traits.SERVER, story.ANSWERS, "server", AUDITED)
]
RankedBy = Annotated[Ranks, OneOf(RANKS, traits.RANKS, OF_RANKS, "ranks")]
DecidedBy = Annotated[
    Policy, OneOf(POLICIES, traits.POLICY, OF_POLICIES, "policy", AUDITED)
]
LearnedBy = Annotated[
    Learning, OneOf(LEARNINGS, traits.LEARNING, answers.LEARNING, "learning")
]


class Scenario(Record):
    """One run: a fleet on a network, a server's policy, and what is learned.

    There is one ``cell``, or a list of ``cells``. A client's messages go by the cell of
    the ``strongest`` mean gain, or by the ``nearest``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    stop: Stop
    server: ServedBy
    ranks: RankedBy = FullRank()
    policy: DecidedBy | None = None
    population: PopulationConfig
    cell: Cell | None = None
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)] | None = None
    association: Association = "strongest"
    interference: Interference | None = None
    learning: LearnedBy

    @property
    def network(self) -> Network:
        """Return the cells of `cell` or `cells`."""
        cells = self.cells if self.cell is None else (self.cell,)
        assert cells is not None, "a scenario has cells"
        return Network(cells, self.association, self.interference)

    def single_cell(self, what: str) -> Cell:
        """Return the only cell; with several raise ``InputError`` about ``what``."""
        return self.network.single(what)

    def placed_cells(self) -> list[tuple[tuple[str | int, ...], Cell]]:
        """Return each cell and where in the scenario it is written."""
        if self.cell is not None:
            return [(("cell",), self.cell)]
        return [(("cells", n), cell) for n, cell in enumerate(self.network.cells)]

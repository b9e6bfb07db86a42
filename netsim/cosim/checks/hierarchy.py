"""What edge servers under a cloud cannot work with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fl.aggregation import PlainServer
from netsim.errors import Refusal

if TYPE_CHECKING:
    from netsim.cosim.learning_kinds import LoraLearning
    from netsim.cosim.scenario import Scenario


def refused_edges(scenario: Scenario) -> Iterator[Refusal]:
    """Yield where a scenario of edge servers asks for what they do not do."""
    if scenario.server.kind != "hierarchical":
        return
    if len(scenario.network.cells) < 2:
        yield ("server",), "edge servers need `cells`, at least two of them"
    if scenario.population.mobility.interval_s is not None:
        text = "an edge server's clients stay in its cell; use a 'synchronous' server"
        yield ("population", "mobility"), text
    has_wires = any(cell.backhaul is not None for cell in scenario.network.cells)
    if has_wires and isinstance(getattr(scenario.learning, "download_bits", 0), tuple):
        text = (
            "edge servers and the cloud exchange whole versions over the backhaul, and "
            "a list tells the size of none; give one value"
        )
        yield ("learning", "download"), text


def refused_learning(learning: LoraLearning) -> Iterator[Refusal]:
    """Yield what learning under edge servers cannot have."""
    if learning.server_optimiser != PlainServer():
        text = "whose would it be, the edges' or the cloud's? Leave it out"
        yield ("learning", "server_optimiser"), text
    if learning.settings.keeps_state:
        text = "clients keep nothing from round to round under edge servers"
        yield ("learning",), text
    if learning.evaluation.clients is not None:
        text = "edge servers examine no clients; leave it out"
        yield ("learning", "evaluation", "clients"), text

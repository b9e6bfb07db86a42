"""What in a scenario does not go together, though each part is right by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netsim.cosim.checks.declared import Declared, declared
from netsim.cosim.checks.numbers import refused_numbers
from netsim.cosim.checks.rules import DEMANDS, contradicting
from netsim.errors import Refusal

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario


def contradictions(scenario: Scenario) -> Iterator[Refusal]:
    """Yield everything in a scenario that cannot go together, and why."""
    if (scenario.cell is None) == (scenario.cells is None):
        yield (), "needs `cell`, or a list of `cells`: exactly one of them"
        return  # all other rules ask for the cells
    found = declared(scenario)
    num_clients = scenario.population.num_clients
    yield from refused_numbers(scenario)
    yield from contradicting(found)
    for path, reason in scenario.learning.refusals(num_clients):
        yield ("learning", *path), reason
    yield from _lacking(scenario, found)


def _lacking(scenario: Scenario, found: Sequence[Declared]) -> Iterator[Refusal]:
    """Yield what the scenario demands of its aggregation that this lacks."""
    learning = scenario.learning.federated
    if learning is None:
        return
    method, is_truncated = (
        learning.aggregation,
        learning.settings.small_clients == "truncated",
    )
    for trait, ability in DEMANDS:
        needed = "unequal-ranks" if ability == "sketches" and is_truncated else ability
        for reason in method.contract.refusals([needed]):
            text = f"does not go with aggregation {method.kind!r}: {reason}"
            yield from ((one.path, text) for one in found if one.trait == trait)

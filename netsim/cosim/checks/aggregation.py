"""What a scenario's server and clients demand of the aggregation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fl.aggregation import Ability
from netsim.cosim.checks.servers import (
    meets_old_versions,
    what_loses_messages,
    what_thins_rounds,
)
from netsim.errors import Refusal

if TYPE_CHECKING:
    from netsim.cosim.learning_kinds import LoraLearning
    from netsim.cosim.scenario import Scenario

SUMS_TO_ONE = ("full", "data-weighted")  # the samplers whose weights do


def refused_demands(scenario: Scenario, learning: LoraLearning) -> Iterator[Refusal]:
    """Yield where the scenario demands what its aggregation lacks, and why it does."""
    method = learning.aggregation
    for path, ability in _demands(scenario, learning):
        for reason in method.contract.refusals([ability]):
            yield path, f"does not go with aggregation {method.kind!r}: {reason}"
    if meets_old_versions(scenario.server) and learning.settings.keeps_state:
        text = (
            "a client may start again before its last update is merged, and what it "
            "has kept back is not known before"
        )
        if "asynchrony" not in method.contract.cannot:
            yield ("server",), f"does not go with learning.compression: {text}"
    where = _decides_ranks(scenario)
    is_sketched = learning.settings.small_clients == "sketched"
    compression = learning.compression
    has_memory = compression is not None and compression.has_memory
    if where is not None and has_memory and (is_sketched or where == ("policy",)):
        text = "what a client kept back belongs to other rank units than its next ones"
        yield where, f"does not go with learning.compression: {text}"


def _demands(
    scenario: Scenario, learning: LoraLearning
) -> Iterator[tuple[tuple[str | int, ...], Ability]]:
    sampling = getattr(scenario.server, "sampling", None)
    server = scenario.server
    if meets_old_versions(server) or server.kind == "hierarchical":
        yield ("server",), "asynchrony"
    if scenario.server.kind not in ("hierarchical", "synchronous"):
        yield ("server",), "independent-sampling"
    elif not _sums_to_one(server.kind, getattr(sampling, "kind", None)):
        yield ("server", "sampling"), "independent-sampling"
    elif thinning := what_thins_rounds(scenario) or what_loses_messages(scenario):
        steps = thinning.split(".")
        yield tuple(int(s) if s.isdigit() else s for s in steps), "independent-sampling"
    where = _decides_ranks(scenario)
    if where is not None:
        is_own = learning.settings.small_clients == "truncated"
        yield where, "unequal-ranks" if is_own else "sketches"


def _sums_to_one(server: str, sampling: str | None) -> bool:
    """Return whether the weights of whoever is drawn always add up to one at each
    server; edges see a part of those drawn."""
    return sampling in SUMS_TO_ONE and (server != "hierarchical" or sampling == "full")


def _decides_ranks(scenario: Scenario) -> tuple[str, ...] | None:
    """Return what gives clients ranks below the adapter's own, if anything does."""
    if scenario.policy is not None and scenario.policy.decides_ranks:
        return ("policy",)
    return None if scenario.ranks.kind == "full" else ("ranks",)

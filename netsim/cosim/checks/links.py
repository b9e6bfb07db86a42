"""What contradicts clients' own links in a scenario: they share no band."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netsim.errors import Refusal

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario


def refused_links(scenario: Scenario) -> Iterator[Refusal]:
    """Yield where a scenario asks something of uploads that own links cannot heed."""
    if scenario.population.links is None:
        return
    if scenario.cell is None:
        yield ("cells",), "with population.links nobody is in a cell; give one `cell`"
        return
    uplink, whole = scenario.cell.uplink, ("cell", "uplink")
    if uplink.sharing.plans_rounds:
        yield (
            (*whole, "sharing"),
            f"{uplink.sharing.kind!r} divides the band among uploads, and with "
            "population.links none is on it; use 'processor-sharing'",
        )
    if uplink.minimum_snr_db is not None:
        yield (
            (*whole, "minimum_snr"),
            "has no meaning with population.links: their traces have the outages that "
            "were met",
        )
    if scenario.policy is not None:
        yield (
            ("policy",),
            "plans for uploads that share the band, and with population.links none "
            "does; give `server.sampling` instead",
        )

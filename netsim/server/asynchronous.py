"""A fully asynchronous server (FedAsync, arXiv 1903.03934)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from netsim.client.participation import Process
from netsim.core.quantities import Seconds
from netsim.scenario import OneOf, Record
from netsim.scenario.traits import Traits
from netsim.server.buffer_loop import BufferLoop
from netsim.server.outages import Outages
from netsim.server.rules import BufferRules, ServerRules
from netsim.server.stage import Stage
from netsim.server.staleness import ANSWERS, STALENESSES, PolynomialStaleness, Staleness

DiscountedBy = Annotated[
    Staleness, OneOf(STALENESSES, answers=ANSWERS, seam="staleness")
]


class Asynchronous(Record):
    """Keeps ``concurrency`` clients active and mixes every update in as it arrives:
    ``x <- (1 - w) x + w x_client`` with ``w`` the ``mixing`` times the discount of its
    staleness. The client's whole model counts, not its change, and not its data.
    """

    sampling: ClassVar[None] = None
    round_timing: ClassVar[None] = None
    kind: Literal["asynchronous"] = "asynchronous"
    concurrency: int = Field(ge=1)
    mixing: float = Field(default=0.6, gt=0, le=1)
    staleness: DiscountedBy = PolynomialStaleness()
    merge_time_s: Annotated[Seconds, Field(ge=0)]
    outages: Outages = ()

    @property
    def counts(self) -> Mapping[str, int]:
        return {"concurrency": self.concurrency}

    @property
    def traits(self) -> Traits:
        outages: Traits = {"has-outages": "outages"} if self.outages else {}
        return {"serves-one-by-one": "", "merges-old-versions": "", **outages}

    @property
    def rules(self) -> ServerRules:
        buffer = BufferRules(
            concurrency=self.concurrency,
            buffer_size=1,
            merge_time_s=self.merge_time_s,
            weigh=self._weight,
            is_mixed=True,
        )
        return ServerRules(buffer=buffer, outages=self.outages)

    def play(self, stage: Stage) -> Process:
        """Run until the run is over; tasks under way then are recorded unfinished."""
        return BufferLoop(stage, self.rules).play()

    def _weight(self, data: float, staleness: int) -> float:
        return self.mixing * self.staleness.discount(staleness)

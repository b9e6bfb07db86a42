"""A buffered asynchronous server (FedBuff, arXiv 2106.06639)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from netsim.client.participation import Process
from netsim.core.quantities import Seconds
from netsim.scenario import Record
from netsim.scenario.traits import Traits
from netsim.server.buffer_loop import BufferLoop
from netsim.server.outages import Outages
from netsim.server.rules import BufferRules, ServerRules
from netsim.server.stage import Stage


class Buffered(Record):
    """Keeps ``concurrency`` clients active and merges whenever ``buffer_size`` updates
    have arrived, each discounted by ``(1 + staleness) ** -staleness_exponent``.

    The next client is drawn uniformly among the idle ones, and an update weighs
    ``N a_n / buffer_size``. As in FedBuff, fast clients come back and are drawn more
    often than slow ones; nothing corrects for that.
    """

    sampling: ClassVar[None] = None
    round_timing: ClassVar[None] = None
    kind: Literal["buffered"] = "buffered"
    concurrency: int = Field(ge=1)
    buffer_size: int = Field(ge=1)
    staleness_exponent: float = Field(default=0.5, ge=0)
    merge_time_s: Annotated[Seconds, Field(ge=0)]
    outages: Outages = ()

    @model_validator(mode="after")
    def _check_buffer_size(self) -> Buffered:
        if self.buffer_size > self.concurrency:
            raise ValueError(
                f"buffer_size must not exceed concurrency, got {self.buffer_size} "
                f"over {self.concurrency}"
            )
        return self

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
            buffer_size=self.buffer_size,
            merge_time_s=self.merge_time_s,
            weigh=self._weight,
        )
        return ServerRules(buffer=buffer, outages=self.outages)

    def play(self, stage: Stage) -> Process:
        """Run until the run is over; tasks under way then are recorded unfinished."""
        return BufferLoop(stage, self.rules).play()

    def _weight(self, data: float, staleness: int) -> float:
        discount = float((1 + staleness) ** -self.staleness_exponent)
        return data * discount / self.buffer_size

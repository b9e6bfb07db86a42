"""The story of a buffered asynchronous server (FedBuff, arXiv 2106.06639)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from netsim.clock import to_ns
from netsim.errors import InputError
from netsim.protocol.crew import Crew
from netsim.protocol.participation import Participation, Process, task_row
from netsim.protocol.stage import Stage
from netsim.quantities import Seconds
from netsim.scenario import Record


class Buffered(Record):
    """Keeps ``concurrency`` clients at work and merges whenever ``buffer_size`` updates
    have arrived, each discounted by ``(1 + staleness) ** -staleness_exponent``.

    The next client is drawn uniformly among the idle ones, and an update weighs
    ``N a_n / buffer_size``. As in FedBuff, fast clients come back and are drawn more
    often than slow ones; nothing corrects for that.
    """

    kind: Literal["buffered"] = "buffered"
    concurrency: int = Field(ge=1)
    buffer_size: int = Field(ge=1)
    staleness_exponent: float = Field(default=0.5, ge=0)
    merge_time_s: Annotated[Seconds, Field(ge=0)]

    @model_validator(mode="after")
    def _fills(self) -> Buffered:
        if self.buffer_size > self.concurrency:
            raise ValueError(
                f"buffer_size must not exceed concurrency, got {self.buffer_size} "
                f"over {self.concurrency}"
            )
        return self

    @property
    def round_timing(self) -> None:
        return None

    def play(self, stage: Stage) -> Process:
        """Run until the run is over; who is under way then is recorded unfinished."""
        num_clients = len(stage.population)
        if self.concurrency > num_clients:
            raise InputError(
                f"server.concurrency must not exceed the {num_clients} clients, "
                f"got {self.concurrency}"
            )
        stage.begin([None] * num_clients)
        crew = Crew(stage, self.concurrency)
        round_id, start_ns = 1, stage.env.now
        buffer: list[Participation] = []
        while not stage.is_over:
            crew.fill(round_id)
            buffer.append((yield from crew.welcome()))
            if len(buffer) < self.buffer_size:
                continue
            if self.merge_time_s:
                yield stage.env.timeout(to_ns(self.merge_time_s))
            self._flush(stage, round_id, buffer)
            num_merged = sum(part.status == "done" for part in buffer)
            stage.end_round(
                round_id,
                start_ns,
                num_sampled=crew.num_started,
                num_merged=num_merged,
                num_dropped=len(buffer) - num_merged,
            )
            crew.num_started = 0
            round_id, start_ns = round_id + 1, stage.env.now
            buffer = []
        yield from crew.dismiss()

    def _flush(self, stage: Stage, round_id: int, buffer: list[Participation]) -> None:
        """Merge the buffer in the order of (client, start index)."""
        buffer.sort(key=lambda part: (part.client_id, part.start_index))
        for part in buffer:
            staleness = round_id - part.round_id
            discount = (1 + staleness) ** -self.staleness_exponent
            data_weight = float(stage.population.data_weights[part.client_id])
            relative = len(stage.population) * data_weight
            part.weight = relative * discount / self.buffer_size
        stage.merge(round_id, buffer)
        for part in buffer:
            stage.recorder.tasks.append(
                task_row(
                    stage,
                    part,
                    part.end_ns,
                    merged_round_id=round_id if part.status == "done" else None,
                    staleness=round_id - part.round_id,
                )
            )

"""How an asynchronous server goes on: updates arrive, and some of them are merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import simpy

from netsim.client.participation import Participation, Process
from netsim.core.clock import to_ns
from netsim.errors import InputError
from netsim.server.active_clients import Crew
from netsim.server.outages import DOWN, Downtime, Outage
from netsim.server.stage import Stage
from netsim.trace.literals import Status

MAX_LOST_IN_A_ROW = 10_000


class Flushes:
    """A server that merges whenever so many updates have arrived."""

    def __init__(
        self,
        stage: Stage,
        *,
        concurrency: int,
        buffer_size: int,
        merge_time_s: float,
        weigh: Callable[[Participation, int], float],  # of a part and its staleness
        is_mixed: bool = False,  # updates take a part of the newest version's place
    ) -> None:
        self._stage = stage
        self._buffer_size = buffer_size
        self._merge_time_s = merge_time_s
        self._weigh = weigh
        self._is_mixed = is_mixed
        self._crew = Crew(stage, concurrency)
        self._buffer: list[Participation] = []
        self._round_id, self._start_ns = 1, stage.env.now
        self._num_lost_before = 0  # the last arrival

    def play(self, outages: Sequence[Outage]) -> Process:
        """Run until the run is over; who is under way then is recorded unfinished."""
        stage, crew = self._stage, self._crew
        stage.begin([None] * len(stage.population))
        downtime = Downtime(stage, outages)
        while not stage.is_over:
            crew.fill(self._round_id)
            try:
                yield from self._step()
            except simpy.Interrupt:
                yield from self._lose_all()
                yield from downtime.over()
        num_left = crew.num_at_work + len(self._buffer)
        if num_left:
            stage.mark("dismissed", detail=f"{num_left} under way")
        self._give_up_buffer("unmerged")
        yield from crew.dismiss(running="unfinished", arrived="unmerged")

    def _step(self) -> Process:
        """Wait for one arrival, and merge where the buffer is full with it."""
        stage = self._stage
        if self._crew.is_deserted:
            self._end_round(num_merged=0, is_deserted=True)
            return
        part = yield from self._crew.welcome()
        if part is None:
            self._require_arrivals()
            return
        self._num_lost_before = self._crew.num_lost
        self._buffer.append(part)
        if len(self._buffer) == self._buffer_size:
            if self._merge_time_s:
                yield stage.env.timeout(to_ns(self._merge_time_s))
            self._flush()

    def _require_arrivals(self) -> None:
        """End a run whose time is over, and refuse one in which nobody ever arrives."""
        stage, num_lost = self._stage, self._crew.num_lost
        time_s = stage.stop.time_s
        if time_s is not None and stage.env.now >= to_ns(time_s):
            self._end_round(num_merged=0)
        elif num_lost - self._num_lost_before >= MAX_LOST_IN_A_ROW:
            raise InputError(
                f"{MAX_LOST_IN_A_ROW} participations in a row came to nothing, so "
                "`stop.rounds` is never reached: nobody stays, or lasts, for as long "
                "as one takes; make them shorter, or set `stop.time`"
            )

    def _flush(self) -> None:
        """Merge the buffer in the order of (client, start index)."""
        stage, buffer, round_id = self._stage, self._buffer, self._round_id
        buffer.sort(key=lambda part: (part.client_id, part.start_index))
        for part in buffer:
            part.weight = self._weigh(part, round_id - part.round_id)
        stage.merge(round_id, buffer, is_mixed=self._is_mixed)
        num_merged = 0
        for part in buffer:
            is_merged = part.status == "done"  # it did not diverge
            stage.record(part, merged_round_id=round_id if is_merged else None)
            num_merged += is_merged
        self._crew.num_lost += len(buffer) - num_merged
        self._buffer = []
        self._end_round(num_merged=num_merged)

    def _end_round(self, *, num_merged: int, is_deserted: bool = False) -> None:
        self._stage.end_round(
            self._round_id,
            self._start_ns,
            num_sampled=self._crew.num_started,
            num_merged=num_merged,
            num_dropped=self._crew.num_lost,
            is_deserted=is_deserted,
        )
        self._crew.num_started = self._crew.num_lost = self._num_lost_before = 0
        self._round_id, self._start_ns = self._round_id + 1, self._stage.env.now

    def _lose_all(self) -> Process:
        """Give up all that is not merged: the server is dead."""
        self._crew.num_lost += self._crew.num_at_work + len(self._buffer)
        self._give_up_buffer(DOWN)
        yield from self._crew.dismiss(running=DOWN, arrived=DOWN)

    def _give_up_buffer(self, status: Status) -> None:
        for part in self._buffer:
            self._stage.lose(part, status)
            self._stage.record(part)
        self._buffer = []

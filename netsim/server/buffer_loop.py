"""The loop of an asynchronous server: it merges when its buffer of updates is full."""

from __future__ import annotations

import simpy

from netsim.client.participation import Participation, Process
from netsim.core.clock import to_ns
from netsim.errors import InputError
from netsim.server.active_clients import ActiveClients
from netsim.server.outages import DOWN, Downtime
from netsim.server.rules import ServerRules
from netsim.server.stage import Counts, Stage
from netsim.trace.literals import Status

MAX_LOST_IN_A_ROW = 10_000


class BufferLoop:
    """A server that merges whenever ``buffer_size`` updates have arrived."""

    def __init__(self, stage: Stage, rules: ServerRules) -> None:
        assert rules.buffer is not None, "it has no rounds"
        self._stage = stage
        self._env = stage.scene.env
        self._rules = rules.buffer
        self._outages = rules.outages
        self._clients = ActiveClients(stage, rules.buffer.concurrency)
        self._buffer: list[Participation] = []
        self._round_id, self._start_ns = 1, self._env.now
        self._num_lost_before = 0  # the last arrival

    def play(self) -> Process:
        """Run until the run is over; tasks under way then are recorded unfinished."""
        stage, clients = self._stage, self._clients
        stage.begin([None] * len(stage.scene.population))
        downtime = Downtime(stage, self._outages)
        while not stage.is_over:
            clients.start_idle(self._round_id)
            try:
                yield from self._step()
            except simpy.Interrupt:
                yield from self._discard_all()
                yield from downtime.over()
        num_left = clients.num_at_work + len(self._buffer)
        if num_left:
            stage.scene.mark("dismissed", detail=f"{num_left} under way")
        self._discard_buffer("unmerged")
        yield from clients.stop_all(cut_as="unfinished", discard_as="unmerged")

    def _step(self) -> Process:
        """Wait for one arrival, and merge when the buffer is full with it."""
        if self._clients.is_deserted:
            self._end_round(num_merged=0, is_deserted=True)
            return
        part = yield from self._clients.next_arrival()
        if part is None:
            self._require_arrivals()
            return
        self._num_lost_before = self._clients.num_lost
        self._buffer.append(part)
        if len(self._buffer) == self._rules.buffer_size:
            if self._rules.merge_time_s:
                yield self._env.timeout(to_ns(self._rules.merge_time_s))
            self._merge()

    def _require_arrivals(self) -> None:
        """End a run whose time is over, and refuse one in which no update arrives."""
        time_s, num_lost = self._stage.stop.time_s, self._clients.num_lost
        if time_s is not None and self._env.now >= to_ns(time_s):
            self._end_round(num_merged=0)
        elif num_lost - self._num_lost_before >= MAX_LOST_IN_A_ROW:
            raise InputError(
                f"{MAX_LOST_IN_A_ROW} participations in a row brought no update, so "
                "`stop.rounds` is never reached: no client stays, or has energy, for "
                "as long as one takes; make them shorter, or set `stop.time`"
            )

    def _merge(self) -> None:
        """Merge the buffer in the order of (client, start index)."""
        stage, buffer, round_id = self._stage, self._buffer, self._round_id
        buffer.sort(key=lambda part: (part.client_id, part.job.start_index))
        for part in buffer:
            part.weight = self._weigh(part, round_id - part.round_id)
        stage.merge(round_id, buffer, is_mixed=self._rules.is_mixed)
        num_merged = stage.participants.record_merge(buffer, round_id)
        self._clients.num_lost += len(buffer) - num_merged
        self._buffer = []
        self._end_round(num_merged=num_merged)

    def _weigh(self, part: Participation, staleness: int) -> float:
        population = self._stage.scene.population
        data = len(population) * float(population.data_weights[part.client_id])
        return self._rules.weigh(data, staleness)

    def _end_round(self, *, num_merged: int, is_deserted: bool = False) -> None:
        clients = self._clients
        self._stage.end_round(
            self._round_id,
            self._start_ns,
            Counts(clients.num_started, num_merged, clients.num_lost),
            is_deserted=is_deserted,
        )
        clients.num_started = clients.num_lost = self._num_lost_before = 0
        self._round_id, self._start_ns = self._round_id + 1, self._env.now

    def _discard_all(self) -> Process:
        """Give up all that is not merged: the server is down."""
        self._clients.num_lost += self._clients.num_at_work + len(self._buffer)
        self._discard_buffer(DOWN)
        yield from self._clients.stop_all(cut_as=DOWN, discard_as=DOWN)

    def _discard_buffer(self, status: Status) -> None:
        participants = self._stage.participants
        for part in self._buffer:
            participants.discard_update(part, status)
            participants.record(part)
        self._buffer = []

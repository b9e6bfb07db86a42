"""The clients at work for an asynchronous server."""

from __future__ import annotations

from collections.abc import Generator

import simpy

from netsim.protocol.participation import Participation, Process, take_part, task_row
from netsim.protocol.stage import Stage
from netsim.streams import uniform


class Crew:
    """Keeps a number of clients at work; who comes back waits to be welcomed."""

    def __init__(self, stage: Stage, size: int) -> None:
        self._arrived = simpy.Store(stage.env)
        self.num_started = 0  # since the last flush; the server resets it
        self._stage = stage
        self._size = size
        self._idle = list(range(len(stage.population)))
        self._at_work: dict[int, tuple[Participation, simpy.Process]] = {}
        self._num_picks = 0

    def fill(self, round_id: int) -> None:
        """Start idle clients until the crew is complete."""
        stage = self._stage
        while len(self._at_work) < self._size:
            part = stage.enlist(self._pick(), round_id, None, is_per_round=False)
            process = stage.env.process(self._work(part))
            self._at_work[part.client_id] = part, process
            self.num_started += 1

    def dismiss(self) -> Process:
        """Cut everybody off and record what was lost."""
        stage = self._stage
        lost = sorted(self._at_work.values(), key=lambda entry: entry[0].task_id)
        if lost:
            stage.mark("dismissed", detail=f"{len(lost)} under way")
        for part, process in lost:
            if part.status == "running":
                process.interrupt("unfinished")
        yield stage.env.all_of([process for _, process in lost])
        for part, _ in lost:
            if part.status == "done":
                part.status = "unmerged"
                stage.learner.withdraw(part.ticket)
            stage.recorder.tasks.append(task_row(stage, part, part.end_ns))

    def welcome(self) -> Generator[simpy.Event, Participation, Participation]:
        """Wait for the next client to come back; it is idle from then on."""
        part = yield self._arrived.get()
        del self._at_work[part.client_id]
        self._idle.append(part.client_id)
        return part

    def _work(self, part: Participation) -> Process:
        yield from take_part(self._stage, part)
        if part.status == "done":
            self._arrived.put(part)

    def _pick(self) -> int:
        """Take an idle client off the list, each with equal probability."""
        idle = self._idle
        self._num_picks += 1
        place = int(uniform(self._stage.seed, "pick", self._num_picks) * len(idle))
        idle[place], idle[-1] = idle[-1], idle[place]
        return idle.pop()

"""Who is there and has energy left; whoever takes part is cut off when it has not."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import simpy

from netsim.availability import Presence
from netsim.client.energy import energies_j, power_w
from netsim.core.clock import MAX_NS
from netsim.core.engine import DEPARTURES, Wake
from netsim.devices.battery import depletion_ns, is_empty
from netsim.trace.literals import Status

if TYPE_CHECKING:
    from netsim.client.participation import Participation
    from netsim.server.stage import Stage


@dataclass(slots=True)
class Watched:
    """Somebody who takes part; of several looks that are due only the last counts."""

    part: Participation
    version: int = 0


class Attendance:
    """Looks at those who take part when one may leave or run out of energy, which cuts
    it off at that very tick; of everybody else it is asked."""

    def __init__(self, stage: Stage) -> None:
        config = stage.population.config
        self._stage = stage
        self._battery = config.battery
        self._has_churn = "comes-and-goes" in config.availability.traits
        self._presence = Presence(config.availability, stage.seed)
        self._left_j: dict[int, float] = {}  # of those who have spent some
        self._empty: set[int] = set()
        self._watched: dict[int, Watched] = {}
        self._looks: list[tuple[int, int, int, int]] = []  # tick, client, task, version
        self._wake: Wake | None = None
        self._wake_ns = MAX_NS
        self._last_seen = 0  # whom to ask first whether anybody is there

    @property
    def is_full(self) -> bool:
        """Return whether everybody is there for good."""
        return not self._has_churn and self._battery is None

    def is_here(self, client_id: int) -> bool:
        """Return whether a client is there now, with energy left."""
        return self.returns_ns(client_id) == self._stage.env.now

    def returns_ns(self, client_id: int) -> int:
        """Return the tick from which a client is there: now, or ``MAX_NS`` if never."""
        if client_id in self._empty:
            return MAX_NS
        now_ns = self._stage.env.now
        is_here, change_ns = self._presence.at(client_id, now_ns)
        return now_ns if is_here else change_ns

    def somebody(self) -> Generator[simpy.Event, object, bool]:
        """Wait until somebody is there, and return whether that ever comes."""
        if self.is_full:
            return True
        env, num_clients = self._stage.env, len(self._stage.population)
        first_ns = MAX_NS
        for place in range(num_clients):
            client_id = (self._last_seen + place) % num_clients
            returns_ns = self.returns_ns(client_id)
            if returns_ns == env.now:
                self._last_seen = client_id
                return True
            first_ns = min(first_ns, returns_ns)
        if first_ns < MAX_NS:
            self._stage.mark("nobody there")
            yield env.timeout(first_ns - env.now)
        return first_ns < MAX_NS

    def watch(self, part: Participation) -> None:
        """Look after somebody from now on, until :meth:`release`."""
        if not self.is_full:
            self._watched[part.task_id] = Watched(part)
            self.changed(part)

    def changed(self, part: Participation) -> None:
        """Find anew when to look at somebody, whose power is another from now on."""
        watched = self._watched.get(part.task_id)
        if watched is None or part.gone_ns is not None:
            return
        watched.version += 1
        tick_ns = min(self._departure_ns(part), self._exhaustion_ns(part))
        if tick_ns < MAX_NS:
            look = (tick_ns, part.client_id, part.task_id, watched.version)
            heappush(self._looks, look)
            self._wake_up()

    def ended(self, part: Participation) -> None:
        """Note that somebody's work is over; who waits goes on to draw power."""
        if part.waits:
            self.changed(part)
        else:
            self.release(part)

    def release(self, part: Participation) -> None:
        """Book what somebody has spent until now, and look after it no more."""
        if self._watched.pop(part.task_id, None) is not None:
            self._left_j[part.client_id] = self._rest_j(part)

    def _departure_ns(self, part: Participation) -> int:
        is_here, change_ns = self._presence.at(part.client_id, self._stage.env.now)
        return change_ns if is_here else self._stage.env.now

    def _exhaustion_ns(self, part: Participation) -> int:
        if self._battery is None:
            return MAX_NS
        now_ns = self._stage.env.now
        power = power_w(self._stage.population, part)
        span_ns = depletion_ns(max(0.0, self._rest_j(part)), power)
        return MAX_NS if span_ns is None else min(MAX_NS, now_ns + span_ns)

    def _capacity_j(self, client_id: int) -> float:
        if self._battery is None:
            return 0.0
        return self._battery.capacity_of(self._stage.seed, client_id)

    def _rest_j(self, part: Participation) -> float:
        """Return what would be left to a client if its task ended now."""
        left_j = self._left_j.get(part.client_id)
        if left_j is None:
            left_j = self._capacity_j(part.client_id)
        spent_j = energies_j(self._stage.population, part, self._stage.env.now)
        return left_j - sum(spent_j)

    def _wake_up(self) -> None:
        env, tick_ns = self._stage.env, self._looks[0][0]
        if self._wake is None or tick_ns < self._wake_ns:
            self._wake = Wake(env, tick_ns - env.now, DEPARTURES, self._on_wake)
            self._wake_ns = tick_ns

    def _on_wake(self, event: simpy.Event) -> None:
        if event is not self._wake:
            return  # overtaken
        self._wake = None
        for part in self._due():
            self._look_at(part)
        if self._looks:
            self._wake_up()

    def _due(self) -> Iterator[Participation]:
        """Yield whom to look at now, by client."""
        while self._looks and self._looks[0][0] <= self._stage.env.now:
            _, _, task_id, version = heappop(self._looks)
            watched = self._watched.get(task_id)
            if watched is not None and watched.version == version:
                yield watched.part

    def _look_at(self, part: Participation) -> None:
        """Cut off who leaves or is exhausted now, and look again at others later."""
        client_id = part.client_id
        capacity_j = self._capacity_j(client_id)
        if self._battery is not None and is_empty(self._rest_j(part), capacity_j):
            self._empty.add(client_id)
            detail = f"{capacity_j!r} J"
            self._stage.mark("battery empty", client_id=client_id, detail=detail)
            self._cut(part, "battery")
        elif not self.is_here(client_id):
            self._cut(part, "left")
        else:
            self.changed(part)

    def _cut(self, part: Participation, status: Status) -> None:
        part.gone_ns = self._stage.env.now
        if part.status == "running":
            self._stage.cut(part, status)

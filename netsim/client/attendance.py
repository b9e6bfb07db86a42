"""Availability and batteries: a task is cut when its client leaves or runs empty."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

import simpy

from netsim.availability import Presence
from netsim.client.participation import Participation, energies_j, power_w
from netsim.core.clock import MAX_NS
from netsim.core.engine import DEPARTURES, Alarm, Engine
from netsim.devices.battery import depletion_ns, is_empty
from netsim.population import Population
from netsim.trace.literals import Status


@dataclass(slots=True)
class Watched:
    """A client that takes part; a check of an older version is stale."""

    part: Participation
    version: int = 0


class Attendance:
    """Answers which clients are available, and cuts the tasks of those that leave or
    run empty at that very tick."""

    def __init__(
        self,
        env: Engine,
        population: Population,
        seed: int,
        mark: Callable[..., None],  # an event of the trace
    ) -> None:
        config = population.config
        self._env = env
        self._population = population
        self._seed = seed
        self._mark = mark
        self._battery = config.battery
        has_churn = "comes-and-goes" in config.availability.traits
        # whether all clients are available in the whole run
        self.is_constant = not has_churn and self._battery is None
        self._presence = Presence(config.availability, seed)
        self._left_j: dict[int, float] = {}  # of clients that have spent some
        self._empty: set[int] = set()
        self._watched: dict[int, Watched] = {}
        self._checks: list[
            tuple[int, int, int, int]
        ] = []  # when, client, task, version
        self._alarm = Alarm(env, DEPARTURES, self._on_wake)
        self._last_seen = 0  # the client to ask first whether it is available

    def is_available(self, client_id: int) -> bool:
        """Return whether a client is there now, with energy left."""
        return self.is_constant or self.returns_ns(client_id) == self._env.now

    def returns_ns(self, client_id: int) -> int:
        """Return the tick from which a client is available: now, or ``MAX_NS`` if
        never."""
        if client_id in self._empty:
            return MAX_NS
        now_ns = self._env.now
        is_here, change_ns = self._presence.at(client_id, now_ns)
        return now_ns if is_here else change_ns

    def wait_for_any(self) -> Generator[simpy.Event, object, bool]:
        """Wait until a client is available, and return whether one ever is."""
        if self.is_constant:
            return True
        env, num_clients = self._env, len(self._population)
        first_ns = MAX_NS
        for place in range(num_clients):
            client_id = (self._last_seen + place) % num_clients
            returns_ns = self.returns_ns(client_id)
            if returns_ns == env.now:
                self._last_seen = client_id
                return True
            first_ns = min(first_ns, returns_ns)
        if first_ns < MAX_NS:
            self._mark("nobody there")
            yield env.timeout(first_ns - env.now)
        return first_ns < MAX_NS

    def watch(self, part: Participation) -> None:
        """Watch a client from now on, until :meth:`release`."""
        if not self.is_constant:
            self._watched[part.task_id] = Watched(part)
            self.power_changed(part)

    def power_changed(self, part: Participation) -> None:
        """Schedule the next check of a client, whose power differs from now on."""
        watched = self._watched.get(part.task_id)
        if watched is None or part.gone_ns is not None:
            return
        watched.version += 1
        tick_ns = min(self._departure_ns(part), self._exhaustion_ns(part))
        if tick_ns < MAX_NS:
            check = tick_ns, part.client_id, part.task_id, watched.version
            heappush(self._checks, check)
            self._alarm.set(self._checks[0][0])

    def ended(self, part: Participation) -> None:
        """Note that a task is over; a client that waits still draws power."""
        if part.waits_for_release:
            self.power_changed(part)
        else:
            self.release(part)

    def release(self, part: Participation) -> None:
        """Book the energy that a client has spent until now, and stop to watch it."""
        if self._watched and self._watched.pop(part.task_id, None) is not None:
            self._left_j[part.client_id] = self._rest_j(part)

    def _departure_ns(self, part: Participation) -> int:
        is_here, change_ns = self._presence.at(part.client_id, self._env.now)
        return change_ns if is_here else self._env.now

    def _exhaustion_ns(self, part: Participation) -> int:
        if self._battery is None:
            return MAX_NS
        power = power_w(self._population, part)
        span_ns = depletion_ns(max(0.0, self._rest_j(part)), power)
        return MAX_NS if span_ns is None else min(MAX_NS, self._env.now + span_ns)

    def _capacity_j(self, client_id: int) -> float:
        return (
            0.0
            if self._battery is None
            else self._battery.capacity_of(self._seed, client_id)
        )

    def _rest_j(self, part: Participation) -> float:
        """Return the joules left to a client if its task ended now."""
        left_j = self._left_j.get(part.client_id)
        if left_j is None:
            left_j = self._capacity_j(part.client_id)
        return left_j - sum(energies_j(self._population, part, self._env.now))

    def _on_wake(self) -> None:
        for part in self._due():
            self._check(part)
        if self._checks:
            self._alarm.set(self._checks[0][0])

    def _due(self) -> Iterator[Participation]:
        """Yield the participations to check now, by client."""
        while self._checks and self._checks[0][0] <= self._env.now:
            _, _, task_id, version = heappop(self._checks)
            watched = self._watched.get(task_id)
            if watched is not None and watched.version == version:
                yield watched.part

    def _check(self, part: Participation) -> None:
        """Cut a task whose client leaves or is empty now; check others later."""
        client_id = part.client_id
        capacity_j = self._capacity_j(client_id)
        if self._battery is not None and is_empty(self._rest_j(part), capacity_j):
            self._empty.add(client_id)
            detail = f"{capacity_j!r} J"
            self._mark("battery empty", client_id=client_id, detail=detail)
            self._cut(part, "battery")
        elif not self.is_available(client_id):
            self._cut(part, "left")
        else:
            self.power_changed(part)

    def _cut(self, part: Participation, status: Status) -> None:
        part.gone_ns = self._env.now
        if part.status is None:
            part.cut(status, self._env.now)

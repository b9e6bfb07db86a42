"""Checks who took part in each round, with which weight, against the draws."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from netsim.availability import Presence
from netsim.core.clock import to_ns
from netsim.server.rules import RoundRules
from netsim.trace.rows import Event, Round, Task
from netsim.verify.compare import CLOSE, check_equal, is_close
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.planning import planning
from netsim.verify.trace import Trace

ABSENT = ("away or busy", "empty round")
Group = tuple[int, int]  # a round and its server


def check_draws(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield rounds whose participants, or their weights, are not those drawn."""
    rules = known.rules.rounds
    if rules is not None and not _are_as_drawn(trace, known, rules):
        yield from _Rounds(trace, known, rules).findings()


def _are_as_drawn(trace: Trace, known: Known, rules: RoundRules) -> bool:
    """Return whether in each round all that were drawn took part, from its start to its
    merge, with their drawn weights."""
    corrects = rules.corrects_presence or rules.corrects_arrivals
    is_absent = any(event.kind in ABSENT for event in trace.events)
    if trace.has_edges or corrects or is_absent or known.outages_ns:
        return False
    tasks, planned = trace.columns("tasks"), planning(trace, known)
    order = np.lexsort((tasks["client_id"], tasks["round_id"]))
    rounds = sorted(trace.rounds)
    ids = np.array([row.round_id for row in rounds])
    first = np.searchsorted(tasks["round_id"][order], ids)
    last = np.searchsorted(tasks["round_id"][order], ids, side="right")
    if int((last - first).sum()) != len(order):
        return False
    for row, start, end in zip(rounds, first.tolist(), last.tolist(), strict=True):
        own, drawn = order[start:end], planned.draw(row.round_id)
        start_ns = row.start_ns + to_ns(rules.timing.announce_s)
        if not (
            np.array_equal(tasks["client_id"][own], drawn.client_ids)
            and (tasks["download_start_ns"][own] == start_ns).all()
            and (tasks["merged_round_id"][own] == row.round_id).all()
            and np.allclose(tasks["weight"][own], drawn.weights, rtol=CLOSE, atol=0)
        ):
            return False
    return True


class _Rounds:
    """The participations of every round, next to those that were drawn."""

    def __init__(self, trace: Trace, known: Known, rules: RoundRules) -> None:
        self._trace = trace
        self._known = known
        self._rules = rules
        self._planned = planning(trace, known)
        scenario = known.scenario
        self._presence = Presence(known.availability, scenario.seed)
        self._own: dict[Group, dict[int, Task]] = defaultdict(dict)
        self._of_client: dict[int, list[Task]] = defaultdict(list)
        self._cells = known.population.radio_map.cell_ids
        for task in trace.tasks:
            self._own[self._group(task)][task.client_id] = task
            self._of_client[task.client_id].append(task)
        self._empty_ns = trace.empty_ns
        self._down = known.outages_ns
        self._cut = sorted(
            (r.end_ns, r.round_id) for r in trace.rounds if r.end_ns in self._down
        )
        self._marks: dict[int, list[Event]] = defaultdict(list)
        for event in trace.events:
            if event.kind in ABSENT:
                self._marks[event.round_id or 0].append(event)
        diverged = (e for e in trace.events if e.kind == "diverged")  # in a merge
        self._merged_in = {(e.client_id, e.time_ns): e.round_id for e in diverged}

    def findings(self) -> Iterator[Finding]:
        """Yield what differs from the draws, round by round."""
        wanted: list[Event] = []
        for row in sorted(self._trace.rounds):
            if row.server_id == self._trace.cloud_id:
                continue
            start_ns = row.start_ns + to_ns(self._rules.timing.announce_s)
            own = self._own.pop((row.round_id, row.server_id), {})
            is_cut = row.end_ns == row.start_ns or row.end_ns in self._down
            if is_cut and not own and not self._marks.get(row.round_id):
                continue  # it ended before it drew
            drawn = self._drawn(row)
            yield from self._check_members(row, drawn, own, start_ns)
            yield from self._check_weights(row, drawn, own)
            wanted += self._absences(row, drawn, own, start_ns)
        for (round_id, _), left in self._own.items():
            rule = "a task must be of a round that drew its client"
            where = f"task {next(iter(left.values())).task_id}"
            yield Finding("tasks", where, rule, f"round {round_id}")
        yield from _check_marks(wanted, self._marks)

    def _group(self, task: Task) -> Group:
        if not self._trace.has_edges:
            return task.round_id, 0
        return task.round_id, int(self._cells[task.client_id])

    def _drawn(self, row: Round) -> dict[int, float]:
        """Return the weights of the clients drawn for one server's round."""
        drawn = self._planned.draw(row.round_id)
        weights = dict(zip(drawn.client_ids, drawn.weights, strict=True))
        if self._trace.has_edges:
            members = self._known.population.radio_map.members(row.server_id)
            data = self._known.population.data_weights[members].tolist()
            share = math.fsum(data)
            own = set(members.tolist())
            return {n: w / share for n, w in weights.items() if n in own}
        if self._rules.corrects_presence:
            share_of = self._known.availability.share
            return {n: w * (1.0 / share_of(n)) for n, w in weights.items()}
        return weights

    def _check_members(
        self,
        row: Round,
        drawn: Mapping[int, float],
        own: Mapping[int, Task],
        start_ns: int,
    ) -> Iterator[Finding]:
        where = f"round {row.round_id}"
        for client_id, task in own.items():
            if client_id not in drawn:
                rule = "who takes part must have been drawn"
                yield Finding("tasks", f"task {task.task_id}", rule, where)
            begins = ("download_start_ns", task.download_start_ns, start_ns)
            yield from check_equal("tasks", f"task {task.task_id}", begins)
        for client_id in drawn:
            if client_id not in own and not self._is_excused(
                client_id, row.round_id, start_ns
            ):
                rule = "who was drawn, available and idle must take part"
                yield Finding("tasks", where, rule, f"client {client_id} has no task")

    def _is_excused(self, client_id: int, round_id: int, tick_ns: int) -> bool:
        """Return whether a client is at an earlier task, away or empty at a tick."""
        is_here, _ = self._presence.at(client_id, tick_ns)
        is_busy = any(
            task.round_id < round_id
            and task.download_start_ns <= tick_ns <= task.end_ns
            for task in self._of_client[client_id]
        )
        return (
            is_busy
            or not is_here
            or self._empty_ns.get(client_id, tick_ns + 1) <= (tick_ns)
        )

    def _check_weights(
        self, row: Round, drawn: Mapping[int, float], own: Mapping[int, Task]
    ) -> Iterator[Finding]:
        counted = [t for t in own.values() if self._merged(t) == row.round_id]
        for client_id, task in own.items():
            weight = drawn.get(client_id, math.nan)
            merged = self._merge_weight(task, weight, len(own), len(counted))
            may_be = [weight, merged] if task.status == "server-down" else [merged]
            if not any(is_close(task.weight, one) for one in may_be):
                rule = "a weight must be the drawn one, discounted by the server"
                detail = f"{task.weight}, computed {merged}"
                yield Finding("tasks", f"task {task.task_id}", rule, detail)

    def _merged(self, task: Task) -> int | None:
        """Return the round whose merge took a task's update, diverged or not."""
        if task.status == "diverged":
            ends = [
                n
                for (client_id, _), n in self._merged_in.items()
                if client_id == task.client_id and n is not None and n >= task.round_id
            ]
            return min(ends, default=None)
        if task.status == "server-down":  # an outage may have cut the merge itself
            place = bisect_left(self._cut, (task.end_ns, 0))
            return self._cut[place][1] if place < len(self._cut) else None
        return task.merged_round_id

    def _merge_weight(
        self, task: Task, weight: float, num_sampled: int, num_counted: int
    ) -> float:
        rules, merged = self._rules, self._merged(task)
        if merged is None:
            return weight
        staleness = merged - task.round_id
        if staleness and rules.staleness_exponent:
            weight *= (1 + staleness) ** -rules.staleness_exponent
        if rules.corrects_arrivals and num_counted:
            weight *= num_sampled / num_counted
        return weight

    def _absences(
        self,
        row: Round,
        drawn: Mapping[int, float],
        own: Mapping[int, Task],
        start_ns: int,
    ) -> Iterator[Event]:
        """Yield the marks of drawn clients that take no part in a round."""
        place = f"cell {row.server_id}" if self._trace.has_edges else ""
        base = (start_ns, row.round_id)
        if len(own) < len(drawn):
            num_missing = len(drawn) - len(own)
            detail = f"{num_missing} of {len(drawn)} drawn{place and f', {place}'}"
            yield Event(0, base[0], "away or busy", base[1], None, detail)
        if not own:
            yield Event(0, base[0], "empty round", base[1], None, place)


def _check_marks(
    wanted: Sequence[Event], marks: Mapping[int, Sequence[Event]]
) -> Iterator[Finding]:
    said = sorted(event[1:] for events in marks.values() for event in events)
    right = sorted(event[1:] for event in wanted)
    for event in sorted({*said} ^ {*right}, key=str):
        rule = "absent clients must be marked, as the draws give"
        is_said = "stated" if event in said else "missing"
        yield Finding("events", f"round {event[2]}", rule, f"{is_said}: {event}")

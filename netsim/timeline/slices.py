"""Slices: tasks and their phases, transfers, rounds, merges and their arrows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from netsim.errors import InputError
from netsim.timeline.trace_events import Args, TraceEvents, Track
from netsim.timeline.tracks import Tracks
from netsim.trace.rows import Crossing, Event, Round, Task, Transfer

AT_THE_END = frozenset(
    {"unfinished", "unmerged"}
)  # cut by the run's end: no part of it


class Group(NamedTuple):
    """A round and the tasks that ended in it; without a round, those after the last."""

    round: Round | None
    tasks: Sequence[Task]
    edge: int = 0  # one more than the cell of the edge server that it is of, if any

    def merge_start_ns(self) -> int:
        """Return when the round's merge began: when its last awaited task ended."""
        assert self.round is not None
        ends_ns = [t.end_ns for t in self.tasks if self._is_awaited(t)]
        return max([self.round.start_ns, *ends_ns])

    def _is_awaited(self, task: Task) -> bool:
        """Return whether the round's end waited for a task, merged or lost."""
        assert self.round is not None
        if task.merged_round_id is not None:
            return True
        is_own = task.round_id == self.round.round_id and task.status not in AT_THE_END
        return is_own and task.end_ns <= self.round.end_ns


class Phase(NamedTuple):
    """One phase of a client: its interval and its amount of work."""

    name: str
    start_ns: int
    end_ns: int
    work: Args


def grouped(rounds: Iterable[Round], tasks: Iterable[Task]) -> Iterator[Group]:
    """Yield every round with its tasks; both tables are in the order of merges."""
    remaining = iter(tasks)
    task = next(remaining, None)
    for row in rounds:
        members: list[Task] = []
        while task is not None and _merge_of(task) <= row.round_id:
            if task.merged_round_id not in (None, row.round_id):
                raise InputError(
                    f"tasks must be in the order of their merges: task {task.task_id} "
                    f"of merge {task.merged_round_id} comes in round {row.round_id}"
                )
            members.append(task)
            task = next(remaining, None)
        yield Group(row, members)
    if task is not None:
        yield Group(None, [task])
        for task in remaining:
            yield Group(None, [task])


def grouped_by_edge(
    rounds: Iterable[Round], tasks: Iterable[Task], cloud_id: int
) -> Iterator[Group]:
    """Yield every round with its tasks, where each edge server has rounds of its own;
    it writes its tasks together with its round, and the cloud has none."""
    remaining = iter(tasks)
    for row in rounds:
        is_cloud = row.server_id == cloud_id
        members = itertools.islice(remaining, 0 if is_cloud else row.num_sampled)
        yield Group(row, list(members), 0 if is_cloud else row.server_id + 1)


def _merge_of(task: Task) -> int:
    return task.round_id if task.merged_round_id is None else task.merged_round_id


def write_group(events: TraceEvents, tracks: Tracks, group: Group) -> None:
    """Write the tasks of a round, the round, and its merge with all that flows in."""
    for task in group.tasks:
        is_merged = group.round is not None and task.merged_round_id is not None
        _write_task(events, tracks, task, is_merged=is_merged)
    if group.round is not None:
        _write_round(events, tracks, group.round, group)


def _write_task(
    events: TraceEvents, tracks: Tracks, task: Task, *, is_merged: bool
) -> None:
    track = tracks.client(task.client_id)
    ids = {
        "round_id": task.round_id,
        "client_id": task.client_id,
        "task_id": task.task_id,
    }
    name = f"round {task.round_id} client {task.client_id}"
    events.begin(track, task.download_start_ns, "task", name, _args(task))
    for phase in phases(task):
        args = {**ids, **phase.work}
        title = f"{phase.name} {name}"
        events.begin(track, phase.start_ns, phase.name, title, args)
        if is_merged and phase.name == "upload":
            events.flow_out(track, phase.end_ns, task.task_id)
        events.end(track, phase.end_ns)
    events.end(track, task.end_ns)


def phases(task: Task) -> Iterator[Phase]:
    """Yield the phases that a task reached; one that was cut ends with the task."""
    steps = (
        ("download", task.download_start_ns, {"bits": task.download_bits}),
        ("compute", task.compute_start_ns, {"flop": task.compute_flop}),
        ("upload", task.upload_start_ns, {"bits": task.upload_bits}),
    )
    ends_ns = (task.compute_start_ns, task.upload_start_ns, None)
    for (name, start_ns, work), end_ns in zip(steps, ends_ns, strict=True):
        if start_ns is not None:
            end_ns = task.end_ns if end_ns is None else end_ns
            yield Phase(name, start_ns, end_ns, work)


def _write_round(events: TraceEvents, tracks: Tracks, row: Round, group: Group) -> None:
    place, of_whom = 2 * group.edge, f" of edge {group.edge - 1}" if group.edge else ""
    track = tracks.server(f"rounds{of_whom}", place)
    events.begin(track, row.start_ns, "round", f"round {row.round_id}", _args(row))
    events.end(track, row.end_ns)
    if not row.num_merged or not group.tasks:
        return
    track = tracks.server(f"merges{of_whom}", 1 + place)
    start_ns = group.merge_start_ns()
    args = {"round_id": row.round_id, "num_merged": row.num_merged}
    events.begin(track, start_ns, "merge", f"merge round {row.round_id}", args)
    for task in group.tasks:
        if task.merged_round_id is not None:
            events.flow_in(track, start_ns, task.task_id)
    events.end(track, row.end_ns)


def write_transfer(events: TraceEvents, tracks: Tracks, row: Transfer) -> None:
    """Write a message on its client's radio, or on the cell's broadcast."""
    track, name = _message(tracks, row)
    events.begin(track, row.start_ns, "transfer", name, _args(row))
    events.end(track, row.end_ns)


def write_crossing(events: TraceEvents, tracks: Tracks, row: Crossing) -> None:
    """Write a message on the backhaul, on the track of its transfer."""
    track, name = _message(tracks, row)
    events.begin(track, row.start_ns, "backhaul", f"backhaul {name}", _args(row))
    events.end(track, row.end_ns)


def write_flight(
    events: TraceEvents, tracks: Tracks, row: Transfer, arrival_ns: int
) -> None:
    """Write the latency of a message, after its last bit, on its transfer's track."""
    track, name = _message(tracks, row)
    name = f"under way {name.replace('broadcast', row.direction)}"
    events.begin(track, row.end_ns, "latency", name, {"round_id": row.round_id})
    events.end(track, arrival_ns)


def _message(tracks: Tracks, row: Transfer | Crossing) -> tuple[Track, str]:
    """Return the track and the name of a message."""
    if row.client_id is None:
        return tracks.broadcast(row.cell_id), f"broadcast round {row.round_id}"
    name = f"{row.direction} round {row.round_id} client {row.client_id}"
    return tracks.radio(row.client_id, row.cell_id), name


def write_event(events: TraceEvents, tracks: Tracks, row: Event) -> None:
    """Write a mark, on the client's track or on the server's."""
    if row.client_id is None:
        track = tracks.server("marks", 2)
    else:
        track = tracks.client(row.client_id)
    events.instant(track, row.time_ns, row.kind, _args(row))


def _args(row: NamedTuple) -> Args:
    """Return all of a row but its times, which the picture shows."""
    fields: dict[str, int | float | str | None] = row._asdict()
    return {name: fields[name] for name in fields if not name.endswith("_ns")}

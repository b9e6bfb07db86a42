"""Checks the rows of merges against rounds and tasks; the errors are learning's own."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from netsim.trace.rows import Merge, Task
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace

NEGLIGIBLE_WEIGHT = 1e-12  # a component of less is left out of a merge
EXACT_BITS = 32  # per number: an adapter arrives as it is


def check_merges(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield merges without their round's updates, layer by layer, or of another
    method."""
    by_round: dict[int, list[Merge]] = defaultdict(list)
    for row in trace.merges:
        by_round[row.round_id].append(row)
    merged: dict[int, list[Task]] = defaultdict(list)
    for task in trace.tasks:
        if task.merged_round_id is not None:
            merged[task.merged_round_id].append(task)
    first = next(iter(by_round.values()), [])
    for round_id, rows in by_round.items():
        yield from _check_layers(trace, rows, first)
        for row in rows:
            yield from _check_values(row, first[0])
        if not trace.has_edges:
            yield from _check_components(rows, known, merged[round_id])
    if known.scenario.learning.federated is not None and not trace.has_edges:
        missing = {n for n, tasks in merged.items() if tasks} ^ set(by_round)
        if missing:
            rule = "every merge must have its layers' errors"
            yield Finding("merges", "", rule, f"rounds {sorted(missing)[:5]}")


def _check_layers(
    trace: Trace, rows: Sequence[Merge], first: Sequence[Merge]
) -> Iterator[Finding]:
    """Yield a round whose layers are not the run's, once for each server."""
    counts = Counter(row.layer for row in rows)
    times = set(counts.values())  # each server of the round, or the only one
    is_even = times == ({max(times)} if trace.has_edges else {1})
    if set(counts) != {row.layer for row in first} or not is_even:
        rule = "every merge must have the same layers"
        yield Finding("merges", f"round {rows[0].round_id}", rule, f"{len(rows)} rows")


def _check_values(row: Merge, first: Merge) -> Iterator[Finding]:
    """Yield a row of another method, or with errors that cannot be."""
    where = f"round {row.round_id}"
    yield from check_equal("merges", where, ("method", row.method, first.method))
    errors = [field for field in row[4:] if field is not None]
    if any(error < 0 for error in errors):
        rule = "errors and spreads must not be negative"
        yield Finding("merges", where, rule, str(errors))
    empty, right = [[f is None for f in one[-3:]] for one in (row, first)]
    yield from check_equal("merges", where, ("columns without a value", empty, right))


def _check_components(
    rows: Sequence[Merge], known: Known, tasks: Sequence[Task]
) -> Iterator[Finding]:
    """Yield rows that do not count their round's updates, with the newest version where
    the weights do not sum to one, and the versions that stale updates began from."""
    weights = [task.weight or 0.0 for task in tasks]
    least = sum(abs(weight) > NEGLIGIBLE_WEIGHT for weight in weights)
    least += abs(1.0 - math.fsum(weights)) > NEGLIGIBLE_WEIGHT
    most = least
    is_mixed = known.rules.buffer is not None and known.rules.buffer.is_mixed
    starts = {task.staleness for task in tasks}
    if not is_mixed and (starts != {0} or not _arrives_exactly(known)):
        least, most = len(tasks), len(tasks) + 1 + len(starts)
    for row in rows:
        number = min(max(rows[0].num_components, least), most)
        claim = ("num_components", row.num_components, number)
        yield from check_equal("merges", f"round {row.round_id}", claim)


def _arrives_exactly(known: Known) -> bool:
    """Return whether clients start from the very version that the server keeps."""
    learning = known.scenario.learning.federated
    if learning is None or learning.payload.bits_per_number == EXACT_BITS:
        return True
    return learning.settings.keeps_as_sent

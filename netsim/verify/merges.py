"""Checks the rows of merges against rounds and tasks; the errors are learning's own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from netsim.trace.rows import Merge
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace


def check_merges(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield merges without their round's updates, layer by layer, or of another
    method."""
    by_round: dict[int, list[Merge]] = defaultdict(list)
    for row in trace.merges:
        by_round[row.round_id].append(row)
    merged = Counter(task.merged_round_id for task in trace.tasks)
    starts = defaultdict(set)  # of the versions that a merge's updates began from
    for task in trace.tasks:
        starts[task.merged_round_id].add(task.staleness)
    first = next(iter(by_round.values()), [])
    layers = {row.layer for row in first}
    for round_id, rows in by_round.items():
        where = f"round {round_id}"
        counts = Counter(row.layer for row in rows)
        times = set(counts.values())  # each server of the round, or the only one
        if set(counts) != layers or times != ({max(times)} if trace.has_edges else {1}):
            rule = "every merge must have the same layers"
            yield Finding("merges", where, rule, f"{len(rows)} rows")
        for row in rows:
            claims: list[tuple[str, object, object]] = []
            claims.append(("method", row.method, first[0].method))
            if not trace.has_edges:
                # the newest version and each start, as sent, may be components too
                least = merged[round_id]
                most = least + 1 + len(starts[round_id])
                number = min(max(rows[0].num_components, least), most)
                claims.append(("num_components", row.num_components, number))
            yield from check_equal("merges", where, *claims)
            errors = [field for field in row[4:] if field is not None]
            if any(error < 0 for error in errors):
                rule = "errors and spreads must not be negative"
                yield Finding("merges", where, rule, str(errors))
            empty = [field is None for field in row[-3:]]
            claim = (
                "columns without a value",
                empty,
                [f is None for f in first[0][-3:]],
            )
            yield from check_equal("merges", where, claim)
    if known.scenario.learning.federated is not None and not trace.has_edges:
        missing = {n for n in merged if n is not None} ^ set(by_round)
        if missing:
            rule = "every merge must have its layers' errors"
            yield Finding("merges", "", rule, f"rounds {sorted(missing)[:5]}")

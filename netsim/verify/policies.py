"""Checks plans, estimates and marks against the server's sampling, or its policy,
played again; what norms learning measured is its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netsim.trace.literals import EventKind
from netsim.trace.rows import Estimate
from netsim.verify.compare import check_column, check_rows
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.marks import compare_marks
from netsim.verify.planning import planning
from netsim.verify.trace import Trace

OF_POLICIES: tuple[EventKind, ...] = ("plan", "pilot", "floor", "fallback")


def check_plans(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield plans that sampling or policy do not give, by their first round."""
    played, found = planning(trace, known), trace.columns("plans")
    if played.broken:
        rule = "a policy must go on as it did"
        yield Finding("estimates", "norms", rule, played.broken)
        return
    lengths = [len(probabilities) for _, probabilities, _ in played.plans]
    expected = {
        "round_id": np.repeat([first for first, _, _ in played.plans], lengths),
        "client_id": np.concatenate([np.arange(length) for length in lengths]),
        "sampling_probability": np.concatenate(
            [np.array(given, float) for _, given, _ in played.plans]
        ),
        "rank": np.concatenate([ranks for _, _, ranks in played.plans]),
    }
    for name, values in expected.items():
        yield from check_column("plans", name, found[name], values, _row)


def check_estimates(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield estimates that a policy does not make of its pilots and norms."""
    played = None if known.policy is None else planning(trace, known)
    if played is None or not played.broken:
        said = sorted(trace.estimates, key=_place)
        expected = [] if played is None else sorted(played.estimates, key=_place)
        yield from check_rows("estimates", said, expected)


def check_policy_marks(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield marks that are not those of the policy."""
    played = None if known.policy is None else planning(trace, known)
    if played is None or not played.broken:
        expected = [] if played is None else played.marks
        yield from compare_marks(trace, OF_POLICIES, expected)


def _place(row: Estimate) -> tuple[int, int, str, int]:
    return row.round_id, row.time_ns, row.name, row.client_id or 0


def _row(row: int) -> str:
    return f"row {row}"

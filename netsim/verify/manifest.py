"""Checks the figures of the manifest against the run's tables and scenario."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

from netsim.errors import InputError
from netsim.learner.stop import is_of
from netsim.runs.manifest import FILE_NAME, Manifest, known_metrics
from netsim.runs.run import scenario_values
from netsim.verify.finding import Finding
from netsim.verify.trace import Trace

PROMISED = {"rounds": "plan_rounds", "round_s": "plan_round_s", "time_s": "plan_time_s"}
DOUBTED = {"round_error_s": "plan_round_s", "time_error_s": "plan_time_s"}


def check_manifest(
    run_folder: Path, manifest: Manifest, trace: Trace
) -> Iterator[Finding]:
    """Yield every figure of the manifest that differs from the run's."""
    last_round_id = max((row.round_id for row in trace.rounds), default=0)
    last_ns = max((row.end_ns for row in trace.rounds), default=0)
    pilots = [row for row in trace.rounds if row.phase == "pilot"]
    scenario = _scenario(run_folder)
    expected: dict[str, tuple[object, object]] = {
        "rounds": (manifest.rounds, last_round_id),
        "sim_time_ns": (manifest.sim_time_ns, last_ns),
        "pilot_rounds": (manifest.pilot_rounds, len(pilots)),
        "pilot_time_ns": (
            manifest.pilot_time_ns,
            max((row.end_ns for row in pilots), default=0),
        ),
        **{name: (getattr(manifest, name), value) for name, value in scenario.items()},
        "final": (manifest.final, _final(trace)),
        "predicted": (manifest.predicted, _promised(manifest.predicted, trace)),
    }
    for name, (stated, found) in expected.items():
        if stated != found:
            yield Finding(
                FILE_NAME, name, "must be what the run has", f"{stated} != {found}"
            )


def _scenario(run_folder: Path) -> dict[str, object]:
    """Return seed and name as the scenario has them; nothing where it is damaged, which
    is a finding of its own."""
    try:
        found = scenario_values(run_folder)
    except InputError:
        return {}
    return {name: found.get(name) for name in ("seed", "name") if found}


def _promised(stated: Container[str], trace: Trace) -> dict[str, float | None]:
    """Return what a policy's first plan promised: rounds and seconds, and of the rest
    what is stated."""
    plans = [row.round_id for row in trace.estimates if row.name == "plan_round_s"]
    first_id = min(plans, default=None)
    rows = {row.name: row for row in trace.estimates if row.round_id == first_id}
    found: dict[str, float | None] = {
        name: rows[own].value for name, own in PROMISED.items() if own in rows
    }
    doubts = {name: rows[own] for name, own in DOUBTED.items() if own in rows}
    rest = {name: row.standard_error for name, row in doubts.items()}
    rest |= {"loss": rows["level"].value} if "level" in rows else {}
    return {**found, **{name: rest[name] for name in rest if name in stated}}


def _final(trace: Trace) -> dict[str, float | None]:
    """Return the last global metrics in the tables; None where not finite."""
    rows = [
        row for row in trace.evals if row.client_id is None and is_of(row.split, "test")
    ]
    if not rows:
        return {}
    return known_metrics(rows[-1])

"""Checks the figures of the manifest against the run's tables and scenario."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netsim.errors import InputError
from netsim.runs.manifest import FILE_NAME, Manifest, known_metrics
from netsim.runs.run import scenario_values
from netsim.verify.finding import Finding
from netsim.verify.trace import Trace


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


def _final(trace: Trace) -> dict[str, float | None]:
    """Return the last global metrics in the tables; None where not finite."""
    rows = [row for row in trace.evals if row.client_id is None]
    if not rows:
        return {}
    return known_metrics(rows[-1])

"""The audit of a run's folder: its files, the physics of its bands, its tables, and
all that follows from its scenario."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from netsim.errors import InputError
from netsim.runs.manifest import Manifest
from netsim.runs.run import load_run, scenario_text, stream_rows
from netsim.trace.rows import Band
from netsim.verify.clock import check_bands, check_clock
from netsim.verify.consistency import check_consistency
from netsim.verify.files import check_digests, check_files
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.manifest import check_manifest
from netsim.verify.recompute import Skipped, recompute
from netsim.verify.trace import Parts, Trace

__all__ = ["Audit", "Finding", "Skipped", "audit", "check_trace", "verify"]


class Audit(NamedTuple):
    """What is wrong with a run, and what was not computed again."""

    findings: list[Finding]
    skipped: list[Skipped]


def verify(path: str | Path) -> list[Finding]:
    """Return everything that is wrong with the run in ``path``; nothing if it is sound.

    The tables of an incomplete run end at different moments: there only the files and
    the rows of ``bands`` on their own are checked.
    """
    return audit(path).findings


def audit(path: str | Path) -> Audit:
    """Return what is wrong with the run in ``path``, and what could not be checked."""
    run = load_run(path)
    parts = Parts(run.folder)
    found = Audit(list(check_files(run.folder, run.manifest, parts)), [])
    is_whole = not found.findings
    try:
        found.findings.extend(
            _check_content(run.folder, run.manifest, parts, found.skipped)
        )
    except InputError as error:
        if is_whole:
            raise AssertionError("check_files must name what cannot be read") from error
    return found


def _check_content(
    run_folder: Path, manifest: Manifest, parts: Parts, skipped: list[Skipped]
) -> Iterator[Finding]:
    """Yield the errors of tables that can be read."""
    if manifest.status == "complete" or manifest.table_digests:
        yield from check_digests(manifest, parts)
    if manifest.status != "complete":
        bands = list(stream_rows(run_folder, Band))
        yield from check_bands(Trace(0, bands=bands))
        return
    trace = parts.trace(manifest.sim_time_ns)
    yield from check_manifest(run_folder, manifest, trace)
    known = Known(scenario_text(run_folder), run_folder, trace)
    yield from check_trace(trace, known, skipped)


def check_trace(
    trace: Trace, known: Known, skipped: list[Skipped]
) -> Iterator[Finding]:
    """Yield what is wrong with the tables of a complete run, by what is known of it."""
    yield from check_clock(trace)
    yield from check_consistency(trace)
    yield from recompute(trace, known, skipped)

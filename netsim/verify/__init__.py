"""The audit of a run's folder: its files, the physics of its bands, its tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netsim.errors import InputError
from netsim.runs.manifest import Manifest
from netsim.runs.run import load_run, scenario_values, stream_rows
from netsim.trace.rows import Band
from netsim.verify.clock import check_bands, check_clock
from netsim.verify.consistency import check_consistency
from netsim.verify.files import check_digests, check_files
from netsim.verify.finding import Finding
from netsim.verify.manifest import check_manifest
from netsim.verify.presence import check_presence
from netsim.verify.trace import read_trace

__all__ = ["verify"]


def verify(path: str | Path) -> list[Finding]:
    """Return everything that is wrong with the run in ``path``; nothing if it is sound.

    The tables of an incomplete run end at different moments: there only the files and
    the rows of ``bands`` on their own are checked.
    """
    run = load_run(path)
    findings = list(check_files(run.folder, run.manifest))
    try:
        findings += _check_content(run.folder, run.manifest)
    except InputError as error:
        if not findings:
            raise AssertionError("check_files must name what cannot be read") from error
    return findings


def _check_content(run_folder: Path, manifest: Manifest) -> Iterator[Finding]:
    """Yield the errors of tables that can be read."""
    if manifest.status == "complete" or manifest.table_digests:
        yield from check_digests(run_folder, manifest)
    if manifest.status != "complete":
        yield from check_bands(list(stream_rows(run_folder, Band)))
        return
    trace = read_trace(run_folder, manifest.sim_time_ns)
    yield from check_clock(trace)
    yield from check_consistency(trace)
    yield from check_manifest(run_folder, manifest, trace)
    yield from check_presence(scenario_values(run_folder), trace.tasks, run_folder)

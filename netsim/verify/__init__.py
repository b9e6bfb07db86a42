"""The audit of a run's folder: its files, the physics of its bands, and its books."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netsim.errors import InputError
from netsim.runs.manifest import Manifest
from netsim.runs.run import load_run, scenario_values, stream_rows
from netsim.trace import rows
from netsim.verify.clock import check_bands, check_clock
from netsim.verify.consistency import Books, check_books
from netsim.verify.files import check_digests, check_files
from netsim.verify.finding import Finding
from netsim.verify.manifest import check_claims
from netsim.verify.presence import check_presence

__all__ = ["Finding", "verify"]


def verify(path: str | Path) -> list[Finding]:
    """Return everything that is wrong with the run in ``path``; a sound one has none.

    Of a run that is not complete the tables end at different moments, so only its
    files and the rows of ``bands`` by themselves are checked.
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
    """Yield what readable tables say wrongly."""
    if manifest.status == "complete" or manifest.table_digests:
        yield from check_digests(run_folder, manifest)
    bands = list(stream_rows(run_folder, "bands", rows.Band))
    if manifest.status != "complete":
        yield from check_bands(bands)
        return
    transfers = list(stream_rows(run_folder, "transfers", rows.Transfer))
    segments = list(stream_rows(run_folder, "segments", rows.Segment))
    capacities = list(stream_rows(run_folder, "capacities", rows.Capacity))
    links = list(stream_rows(run_folder, "links", rows.OwnLink))
    laps = list(stream_rows(run_folder, "laps", rows.Lap))
    yield from check_clock(transfers, segments, bands, capacities, links, laps)
    books = Books(
        clients=list(stream_rows(run_folder, "clients", rows.Client)),
        plans=list(stream_rows(run_folder, "plans", rows.Plan)),
        rounds=list(stream_rows(run_folder, "rounds", rows.Round)),
        tasks=list(stream_rows(run_folder, "tasks", rows.Task)),
        transfers=transfers,
        evals=list(stream_rows(run_folder, "evals", rows.Evaluation)),
        events=list(stream_rows(run_folder, "events", rows.Event)),
        sim_time_ns=manifest.sim_time_ns,
        estimates=list(stream_rows(run_folder, "estimates", rows.Estimate)),
        cells=list(stream_rows(run_folder, "cells", rows.Cell)),
        crossings=list(stream_rows(run_folder, "crossings", rows.Crossing)),
        arrivals=list(stream_rows(run_folder, "arrivals", rows.Arrival)),
    )
    yield from check_books(books)
    yield from check_claims(run_folder, manifest, books)
    scenario = scenario_values(run_folder)
    yield from check_presence(scenario, books.tasks, run_folder)

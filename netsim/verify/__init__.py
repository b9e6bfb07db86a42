"""The audit of a run's folder: its files, the physics of its bands, and its books."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from netsim.errors import InputError
from netsim.manifest import Manifest
from netsim.runs import load_run, read_table
from netsim.trace import rows
from netsim.verify.books import Books, check_books
from netsim.verify.claims import check_claims
from netsim.verify.clock import check_bands, check_clock
from netsim.verify.files import check_digests, check_files
from netsim.verify.finding import Finding

__all__ = ["Finding", "verify"]

Row = TypeVar("Row")


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
    bands = _rows(run_folder, "bands", rows.Band._make)
    if manifest.status != "complete":
        yield from check_bands(bands)
        return
    transfers = _rows(run_folder, "transfers", rows.Transfer._make)
    segments = _rows(run_folder, "segments", rows.Segment._make)
    capacities = _rows(run_folder, "capacities", rows.Capacity._make)
    yield from check_clock(transfers, segments, bands, capacities)
    books = Books(
        clients=_rows(run_folder, "clients", rows.Client._make),
        plans=_rows(run_folder, "plans", rows.Plan._make),
        rounds=_rows(run_folder, "rounds", rows.Round._make),
        tasks=_rows(run_folder, "tasks", rows.Task._make),
        transfers=transfers,
        evals=_rows(run_folder, "evals", rows.Evaluation._make),
        events=_rows(run_folder, "events", rows.Event._make),
        sim_time_ns=manifest.sim_time_ns,
        estimates=_rows(run_folder, "estimates", rows.Estimate._make),
    )
    yield from check_books(books)
    yield from check_claims(run_folder, manifest, books)


def _rows(
    run_folder: Path, table: str, make: Callable[[Iterable[object]], Row]
) -> list[Row]:
    columns = [column.to_pylist() for column in read_table(run_folder, table).columns]
    return [make(cells) for cells in zip(*columns, strict=True)]

"""Checks that a run's files are, byte for byte, those that its manifest lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netsim.core.files import Part, StoredFile, file_sha256
from netsim.errors import InputError
from netsim.runs.manifest import Manifest
from netsim.runs.run import own_tables, whole_table
from netsim.trace.digest import TableDigest, digest_of, network_digest, run_digest
from netsim.trace.tables import TABLES
from netsim.verify.finding import Finding
from netsim.verify.trace import Parts


def check_files(
    run_folder: Path, manifest: Manifest, parts: Parts
) -> Iterator[Finding]:
    """Yield files that are missing, changed, unlisted or unreadable."""
    for part in manifest.parts:
        yield from _check_stored(run_folder, part)
    for file in manifest.files:
        yield from _check_stored(run_folder, file)
    if manifest.status != "running":  # its manifest may list none yet
        yield from _unlisted(run_folder, manifest)
    for table in (*TABLES, *own_tables(manifest)):
        for path in parts.paths(table):
            try:
                parts.read(path, table)
            except InputError as error:
                name = path.relative_to(run_folder).as_posix()
                yield Finding("files", name, "a part must be readable", str(error))
    yield from _check_scenario(run_folder, manifest)


def check_digests(manifest: Manifest, parts: Parts) -> Iterator[Finding]:
    """Yield digests of a closed trace that are not those of its tables."""
    found = {}
    for table in TABLES:
        paths = parts.paths(table)
        is_listed = table in manifest.table_digests
        if TABLES[table].is_optional and not paths and not is_listed:
            continue
        digest = TableDigest(table)
        for path in paths:
            digest.update(parts.read(path, table))
        found[table] = digest.hexdigest()
        listed = manifest.table_digests.get(table, "")
        yield from _compare(table, "table digest", listed, found[table])
    for table in own_tables(manifest):
        own = [parts.read(path, table) for path in parts.paths(table)]
        if own:
            found[table] = digest_of(table, whole_table(table, own))
        listed = manifest.table_digests[table]
        yield from _compare(table, "table digest", listed, found.get(table, "none"))
    network = network_digest(found)
    yield from _compare("files", "network_digest", manifest.network_digest, network)
    digest_now = run_digest(found, manifest.adapter_digest)
    yield from _compare("files", "digest", manifest.digest, digest_now)


def _check_stored(run_folder: Path, stored: Part | StoredFile) -> Iterator[Finding]:
    path = run_folder / stored.path
    if not path.is_file():
        yield Finding("files", stored.path, "a listed file must exist", "it is missing")
        return
    found = file_sha256(path)
    if found != stored.sha256:
        detail = f"manifest {stored.sha256}, file {found}"
        rule = "a file must have the SHA-256 that the manifest lists"
        yield Finding("files", stored.path, rule, detail)


def _unlisted(run_folder: Path, manifest: Manifest) -> Iterator[Finding]:
    listed = {part.path for part in manifest.parts}
    for path in sorted((run_folder / "trace").glob("*/part-*.parquet")):
        name = path.relative_to(run_folder).as_posix()
        if name not in listed:
            detail = f"the manifest lists {len(listed)} parts, and not this one"
            yield Finding("files", name, "a part must be listed", detail)


def _check_scenario(run_folder: Path, manifest: Manifest) -> Iterator[Finding]:
    path = run_folder / "scenario.yaml"
    if not path.is_file():
        rule = "a run must have its scenario"
        yield Finding("files", path.name, rule, "it is missing")
        return
    listed = manifest.scenario_digest
    yield from _compare(path.name, "scenario_digest", listed, file_sha256(path))


def _compare(table: str, what: str, listed: str, found: str) -> Iterator[Finding]:
    if listed != found:
        detail = f"manifest {listed or 'none'}, recomputed {found}"
        yield Finding(table, what, "a digest must match the manifest", detail)

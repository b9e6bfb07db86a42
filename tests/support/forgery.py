"""Runs changed in such a manner that every hash and digest still fits."""

import pyarrow as pa
import pyarrow.parquet as pq

from netsim.core.files import file_sha256
from netsim.runs.manifest import read_manifest
from netsim.runs.run import read_table
from netsim.trace.digest import TableDigest, network_digest, run_digest


def forge(folder, table, name, change):
    """Rewrite a column, and every hash and digest that would give it away."""
    path = folder / "trace" / table / "part-00000.parquet"
    old = read_table(folder, table)
    index = old.schema.names.index(name)
    values = pa.array(change(old.column(name).to_pylist()), old.schema.types[index])
    pq.write_table(old.set_column(index, old.schema.field(index), values), path)
    manifest = read_manifest(folder)
    sha256 = file_sha256(path)
    parts = tuple(
        part.model_copy(update={"sha256": sha256}) if part.table == table else part
        for part in manifest.parts
    )
    digest = TableDigest(table)
    digest.update(read_table(folder, table))
    tables = {**manifest.table_digests, table: digest.hexdigest()}
    update = {
        "parts": parts,
        "table_digests": tables,
        "network_digest": network_digest(tables),
        "digest": run_digest(tables, ""),
    }
    manifest.model_copy(update=update).write(folder)

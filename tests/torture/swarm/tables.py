"""The tables of a trace as plain rows, read without netsim."""

import pyarrow.parquet as pq


class Tables:
    """Every table of a run's folder, as a list of mappings."""

    def __init__(self, folder):
        self._rows = {}
        for path in sorted((folder / "trace").iterdir()):
            parts = sorted(path.glob("*.parquet"))
            self._rows[path.name] = [
                row for part in parts for row in pq.read_table(part).to_pylist()
            ]

    def __getattr__(self, name):
        return self._rows.get(name, [])

    def by(self, table, column):
        """Return the rows of a table by the values of a column."""
        found = {}
        for row in getattr(self, table):
            found.setdefault(row[column], []).append(row)
        return found

"""A table of figures that is complete on disk after every change."""

import csv
import os


class Table:
    """Rows by their first columns, rewritten on every change, so that an interrupted
    bed keeps its measurements."""

    def __init__(self, path, columns, num_keys=1):
        self._path, self._columns, self._num_keys = path, columns, num_keys
        self._rows = {}

    def put(self, row):
        """Add a row, or replace the row with the same first columns."""
        self._rows[tuple(row[key] for key in self._columns[: self._num_keys])] = row
        draft = self._path.with_suffix(".part")
        with draft.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval=0, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows.values())
        os.replace(draft, self._path)


def ignored(*figures):
    """Ignore intermediate figures; only the last ones are used."""

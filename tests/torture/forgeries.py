"""Forged runs: every column of every table is changed, and the audit must notice.

``python -m tests.torture.forgeries --out DIR [--rows 5]``
"""

import argparse
from collections import Counter
from pathlib import Path

from tests.support import recorded
from tests.support.forgeries import FREE, Recorded, columns
from tests.torture.table import Table

COLUMNS = ("table", "column", "runs", "forgeries", "caught", "free because")


def main():
    """Record the runs, forge them and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=5)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "forgeries.csv", COLUMNS, num_keys=2)
    runs = [
        Recorded(recorded.record(name, given.out / "runs" / name))
        for name in recorded.RUNS
    ]
    for name, column in columns():
        table.put(row(runs, name, column, given.rows))


def row(runs, table, column, num_rows):
    """Return how many forgeries of a column were caught, over all runs."""
    counts = Counter()
    for run in runs:
        found = [run.is_caught(one) for one in run.forgeries(table, column, num_rows)]
        counts.update(runs=bool(found), forgeries=len(found), caught=sum(found))
    free = FREE.get((table, column), "")
    return {"table": table, "column": column, "free because": free, **counts}


if __name__ == "__main__":
    main()

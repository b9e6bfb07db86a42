"""Forgeries of a recorded run: a changed value or a dropped row, with new digests."""

from typing import NamedTuple, get_args

import pyarrow as pa
import yaml

from netsim.runs.manifest import read_manifest
from netsim.runs.run import read_table, scenario_text
from netsim.trace.literals import EventKind, Status
from netsim.trace.tables import TABLES
from netsim.verify import check_trace
from netsim.verify.known import Known
from netsim.verify.manifest import check_manifest
from netsim.verify.trace import Trace

WORDS = {
    "status": get_args(Status),
    "kind": get_args(EventKind),
    "direction": ("up", "down"),
    "phase": ("train", "pilot"),
    "split": ("test", "local-personal", "local-global"),
}
DROPPED = "(row dropped)"
DOUBLED = "(row doubled)"


class Forgery(NamedTuple):
    """One row of one table, and what it becomes; nothing where it is dropped."""

    table: str
    column: str
    row: int
    value: object = None


class Recorded:
    """A finished run in memory, to be forged again and again."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.tables = {name: read_table(folder, name) for name in TABLES}
        trace = self._trace(self.tables)
        self._known = Known(scenario_text(folder), folder, trace)
        self.skipped = []
        self.findings = self.findings_of(self.tables, self.skipped)

    def forgeries(self, table, column, num_rows=1):
        """Yield changes of a column, in the middle row or several spread evenly."""
        length = self.tables[table].num_rows
        places = {(2 * n + 1) * length // (2 * num_rows) for n in range(num_rows)}
        for row in sorted(places) if length else ():
            if column in (DROPPED, DOUBLED):
                yield Forgery(table, column, row)
                continue
            old = self.tables[table].column(column)[row].as_py()
            field = self.tables[table].schema.field(column)
            for value in _changes(column, old, field):
                yield Forgery(table, column, row, value)

    def is_caught(self, forgery):
        """Return whether the audit finds anything wrong with a forged run."""
        tables = {**self.tables, forgery.table: self._forged(forgery)}
        return bool(self.findings_of(tables, []))

    def findings_with(self, table, column, values):
        """Return what the audit finds with other values in a whole column."""
        rows = self.tables[table].to_pylist()
        forged = [
            {**row, column: value} for row, value in zip(rows, values, strict=True)
        ]
        return self.findings_with_rows(table, forged)

    def findings_with_rows(self, table, rows):
        """Return what the audit finds with other rows of a table."""
        made = pa.Table.from_pylist(rows, schema=self.tables[table].schema)
        trace = self._trace({**self.tables, table: made})
        return list(check_trace(trace, self._known, []))

    def findings_under(self, changes):
        """Return what the audit finds under a scenario with other values."""
        scenario = yaml.safe_load(scenario_text(self.folder))
        for section, values in changes.items():
            scenario[section].update(values)
        trace = self._trace(self.tables)
        known = Known(yaml.safe_dump(scenario), self.folder, trace)
        return list(check_trace(trace, known, []))

    def _forged(self, forgery):
        table = self.tables[forgery.table]
        rows = table.to_pylist()
        if forgery.column == DROPPED:
            del rows[forgery.row]
        elif forgery.column == DOUBLED:
            rows.insert(forgery.row, rows[forgery.row])
        else:
            rows[forgery.row][forgery.column] = forgery.value
        return pa.Table.from_pylist(rows, schema=table.schema)

    def findings_of(self, tables, skipped):
        trace = self._trace(tables)
        found = [*check_manifest(self.folder, self.manifest, trace)]
        for finding in check_trace(trace, self._known, skipped):
            found.append(finding)
            break
        return found

    def _trace(self, tables):
        return Trace.of(tables, self.manifest.sim_time_ns)


def _changes(column, old, field):
    """Return other values of a cell: near, far and missing."""
    if field.nullable and old is not None:
        yield None
    if pa.types.is_boolean(field.type):
        yield not old
    elif pa.types.is_integer(field.type):
        yield from (0,) if old is None else (old + 1, 2 * old + 7)
    elif pa.types.is_floating(field.type):
        yield from (0.5,) if old is None else (old * 1.001 + 1e-6, -old - 1.0)
    elif column in WORDS:
        words = [word for word in WORDS[column] if word != old]
        yield from (words[0], words[-1])
    else:
        yield f"{old}x"


def columns():
    """Return every column of every table, and what drops or doubles a row."""
    return [
        (name, column)
        for name, table in TABLES.items()
        for column in (*table.row._fields, DROPPED, DOUBLED)
    ]


LEARNED = "a number that only learning gives: `netsim replay` computes it"
GIVEN = "a norm that learning measured, where no plan depends on it"
FREE = {
    ("evals", "loss"): LEARNED,
    ("evals", "accuracy"): LEARNED,
    ("evals", "exact_match"): LEARNED,
    ("merges", "relative_error"): LEARNED,
    ("merges", "average_relative_error"): LEARNED,
    ("merges", "update_relative_error"): LEARNED,
    ("merges", "left_spread"): LEARNED,
    ("merges", "right_spread"): LEARNED,
    ("updates", "loss"): LEARNED,
    ("updates", "norm2"): LEARNED,
    ("updates", "epsilon"): LEARNED,
    ("estimates", "value"): GIVEN,
    ("estimates", "standard_error"): GIVEN,
}

"""The rows of a complete trace, which the checks compare with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar

from netsim.runs.run import stream_rows
from netsim.trace.tables import TABLES, Rows


class Interval(Protocol):
    """A row with a beginning."""

    @property
    def start_ns(self) -> int: ...


Row = TypeVar("Row", bound=Interval)
Key = TypeVar("Key", bound=Any)


class Trace(Rows):
    """All tables of a run, and when it ends."""

    def __init__(self, sim_time_ns: int, **tables: list[Any]) -> None:
        super().__init__(**tables)
        self.sim_time_ns = sim_time_ns

    @property
    def cloud_id(self) -> int:
        """Return the id of the server above edge servers, whose ids are their cells';
        -1, which no server has, where there are no edge servers."""
        return len(self.cells) or -1

    @property
    def has_edges(self) -> bool:
        """Return whether every cell has a server of its own."""
        return any(row.server_id == self.cloud_id for row in self.rounds)


def read_trace(run_folder: Path, sim_time_ns: int) -> Trace:
    """Return all rows in a run's folder."""
    tables = {
        name: list(stream_rows(run_folder, table.row)) for name, table in TABLES.items()
    }
    return Trace(sim_time_ns=sim_time_ns, **tables)


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Return rows by key, in order of the keys, those of one key in order of time."""
    found: dict[Key, list[Row]] = {}
    for row in sorted(rows, key=attrgetter("start_ns")):
        found.setdefault(key(row), []).append(row)
    return dict(sorted(found.items()))

"""The keys on which the tables of a run join, and a join that keeps types.

Every key is unique on its right side: a join adds columns and no rows. Where a left key
is missing (a broadcast has no client, a lost update no merge), the columns are missing.
Where every cell has a server of its own, a round has one row per server: tasks join
with the row of their client's edge server, transfers with their cell's, evaluations
with the cloud's. Bands join with clients by ``cell_id``, and with transfers by cell,
direction and time, which is not an equality: see :mod:`netsim.runs.questions`.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from netsim.errors import InputError
from netsim.runs.run import Run, server_kind


class Join(NamedTuple):
    """A key that leads from each row of a table to one row of another."""

    table: str
    key: str
    other: str

    @property
    def other_key(self) -> str:
        """The key's name on the right side."""
        return self.key.removeprefix("merged_")


JOINS = (
    Join("plans", "client_id", "clients"),
    Join("tasks", "client_id", "clients"),
    Join("tasks", "round_id", "rounds"),  # the round that drew it
    Join("tasks", "merged_round_id", "rounds"),  # the round that merged its update
    Join("transfers", "task_id", "tasks"),
    Join("transfers", "client_id", "clients"),
    Join("transfers", "round_id", "rounds"),
    Join("segments", "transfer_id", "transfers"),
    Join("evals", "round_id", "rounds"),  # round 0 is before the first
    Join("evals", "client_id", "clients"),
    Join("merges", "round_id", "rounds"),
    Join("updates", "task_id", "tasks"),
    Join("updates", "round_id", "rounds"),  # the round that merged it
    Join("estimates", "client_id", "clients"),
    Join("estimates", "round_id", "rounds"),
    Join("events", "round_id", "rounds"),
    Join("events", "client_id", "clients"),
)


def joined(run: Run, table: str, other: str, *, on: str = "") -> pd.DataFrame:
    """Return a run's table with the columns of another, on the key ``on`` or else the
    first key of the two; a right column with a taken name becomes ``<name>_<other>``.

    Integer columns with missing values are ``Int64``, never floats.
    """
    join, left = _found(table, other, on), run.table(table)
    found, keys = run.table(other), left[join.key].astype("Int64")
    names = found[join.other_key]
    if other == "rounds" and server_kind(run.folder) == "hierarchical":
        num_servers = len(run.cells) + 1
        keys = keys * num_servers + _servers(run, table, left)
        names = names * num_servers + found["server_id"]
    places = pd.Index(names).get_indexer(pd.Index(keys.fillna(-1)))
    if (places < 0).any():
        whole = found.select_dtypes("int64").columns
        found = found.astype(dict.fromkeys(whole, "Int64"))
    found = found.reindex(places)  # a place of -1 is in no index: an empty row
    found.index = left.index
    if join.key == join.other_key:
        found = found.drop(columns=join.key)
    twice = {name: f"{name}_{other}" for name in found.columns if name in left}
    return pd.concat([left, found.rename(columns=twice)], axis="columns")


def _servers(run: Run, table: str, left: pd.DataFrame) -> pd.Series[int] | int:
    """Return by row the server, edge or cloud, whose round it belongs to."""
    if table == "tasks":
        return left["client_id"].map(run.clients.set_index("client_id")["cell_id"])
    if table == "transfers":
        return left["cell_id"]
    if table == "evals":
        return len(run.cells)
    raise InputError(
        f"{table} does not join with 'rounds' here: every edge server has rounds of "
        f"its own, and {table} does not say whose; tasks, transfers and evals do join"
    )


def with_times(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with every column of nanoseconds or seconds as a Timedelta, named
    without the unit: ``end_ns`` as ``end``, ``round_s`` as ``round``. Nanoseconds stay
    exact; a missing value is NaT."""
    columns = {}
    for name, values in frame.items():
        stem, _, unit = str(name).rpartition("_")
        if unit == "ns":
            columns[stem] = pd.to_timedelta(values, unit="ns")
        elif unit == "s":
            whole = (values.astype("Float64") * 1e9).round().astype("Int64")
            columns[stem] = pd.to_timedelta(whole, unit="ns")
        else:
            columns[str(name)] = values
    return pd.DataFrame(columns, index=frame.index)


def _found(table: str, other: str, on: str) -> Join:
    from_table = [join for join in JOINS if join.table == table]
    for join in from_table:
        if join.other == other and on in ("", join.key):
            return join
    known = ", ".join(f"{j.other} on {j.key}" for j in from_table)
    asked = f"{other!r} on {on!r}" if on else repr(other)
    if not known:
        tables = ", ".join(dict.fromkeys(join.table for join in JOINS))
        raise InputError(f"no table joins from {table!r}; those are {tables}")
    raise InputError(f"{table} does not join with {asked}; it joins with {known}")

"""The one list of the trace's tables; recorder, ``Run``, ``verify`` and the tables of
``TRACE.md`` follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    get_args,
    get_origin,
    get_type_hints,
)

from netsim.trace import rows

Group = Literal["clock", "learning"]  # what decides the rows: one digest each


class Sorted(NamedTuple):
    """The columns that rows are sorted by, and which digest they belong to.

    An optional table without rows leaves no part and no digest.
    """

    by: tuple[str, ...]
    group: Group = "clock"
    is_optional: bool = False


END = Sorted(("end_ns",))
TIME = Sorted(("time_ns",), "learning")
EXTRA = END._replace(is_optional=True)


class Rows:
    """Lists of rows, one per table; a new table is one line, at the end."""

    clients: Annotated[list[rows.Client], Sorted(("client_id",))]
    plans: Annotated[list[rows.Plan], Sorted(("round_id", "client_id"))]
    rounds: Annotated[list[rows.Round], END]
    tasks: Annotated[list[rows.Task], Sorted(())]  # as rounds take them
    transfers: Annotated[list[rows.Transfer], END]
    segments: Annotated[list[rows.Segment], END]
    bands: Annotated[list[rows.Band], END]
    evals: Annotated[list[rows.Evaluation], TIME]
    merges: Annotated[list[rows.Merge], Sorted(("round_id",), "learning")]
    events: Annotated[list[rows.Event], Sorted(("sequence",))]
    estimates: Annotated[list[rows.Estimate], TIME._replace(is_optional=True)]
    capacities: Annotated[
        list[rows.Capacity], EXTRA._replace(by=("cell_id", "direction", "start_ns"))
    ]
    cells: Annotated[list[rows.Cell], EXTRA._replace(by=("cell_id",))]
    crossings: Annotated[list[rows.Crossing], EXTRA]
    arrivals: Annotated[list[rows.Arrival], EXTRA._replace(by=("arrival_ns",))]
    links: Annotated[list[rows.OwnLink], EXTRA._replace(by=())]  # as they are used
    laps: Annotated[list[rows.Lap], EXTRA._replace(by=("file_id", "start_ns"))]
    updates: Annotated[list[rows.Update], TIME._replace(is_optional=True)]

    def __init__(self, **given: list[Any]) -> None:
        for name in TABLES:
            setattr(self, name, given.pop(name, []))
        assert not given, f"no tables: {', '.join(given)}"

    def flush_full(self) -> None:
        """Write full tables to where rows go; these lists keep all."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the trace."""

    name: str
    row: type[NamedTuple]
    order: Sorted

    @property
    def is_optional(self) -> bool:
        """Return whether it is absent from a trace in which it has no rows."""
        return self.order.is_optional

    @property
    def meaning(self) -> str:
        """Return what one row is, from the docstring of its class."""
        text = " ".join((self.row.__doc__ or "").split())
        return (text[:1].lower() + text[1:]).rstrip(".")

    @property
    def notes(self) -> dict[str, str]:
        """Return the meaning of the columns whose names do not say it."""
        hints = get_type_hints(self.row, include_extras=True)
        return {
            name: get_args(hint)[1]
            for name, hint in hints.items()
            if get_origin(hint) is Annotated
        }


def _tables() -> dict[str, Table]:
    found = {}
    for name, hint in get_type_hints(Rows, include_extras=True).items():
        rows_, order = get_args(hint)
        found[name] = Table(name, get_args(rows_)[0], order)
    return found


TABLES = _tables()

"""Clients' own uplinks, from measured traces."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from netsim.channel.capacity import CapacityTable
from netsim.channel.measured import Format, Offset, offset_ns, read_capacity
from netsim.core.streams import uniform
from netsim.scenario.file_path import FilePath
from netsim.scenario.plug_ins import Answer, Answers, is_whole
from netsim.scenario.record import Record

LINK_HZ: Final = 1_000_000  # the nominal band; a packet per ms is an integer in it


class OwnLink(NamedTuple):
    """The file that a client's link follows, and its offset at time zero."""

    file_id: int
    offset_ns: int


class Links(Protocol):
    """Returns the trace of each client's own uplink; tables are indexed by file id."""

    @property
    def kind(self) -> str: ...

    def tables(self) -> tuple[CapacityTable, ...]: ...

    def link(self, seed: int, client_id: int) -> OwnLink: ...


ANSWERS: Answers = {
    "tables": Answer(
        "a table of capacity for each file",
        lambda answer: all(isinstance(one, CapacityTable) for one in answer) and answer,
    ),
    "link": Answer(
        "the whole number of a file, and a whole number of ticks as the offset",
        lambda answer, seed, client_id: (
            is_whole(answer.file_id) and is_whole(answer.offset_ns)
        ),
    ),
}


class MeasuredLinks(Record):
    """Every client's uplink follows its own measured trace, which repeats.

    The link is not part of a cell's band: the band's radio, width and sharing have no
    effect on uploads, and a ``radio_band`` is refused. ``assignment`` gives each client
    a file, in turn or at random. ``start_offset`` is the position in the trace at time
    zero; ``random`` draws whole milliseconds.
    """

    kind: Literal["measured"] = "measured"
    files: tuple[FilePath, ...] = Field(min_length=1)
    format: Format = "mahimahi"
    assignment: Literal["round-robin", "random"] = "round-robin"
    start_offset_s: Offset = 0.0

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        self.tables()
        return self

    def tables(self) -> tuple[CapacityTable, ...]:
        return tuple(self._table(file_id) for file_id in range(len(self.files)))

    def link(self, seed: int, client_id: int) -> OwnLink:
        file_id = client_id % len(self.files)
        if self.assignment == "random":
            draw = uniform(seed, "link-file", client_id)
            file_id = int(draw * len(self.files))
        period_ns = self._table(file_id).period_ns
        return OwnLink(
            file_id, offset_ns(self.start_offset_s, period_ns, seed, client_id)
        )

    def _table(self, file_id: int) -> CapacityTable:
        return read_capacity(Path(self.files[file_id]), self.format, LINK_HZ)


LINKS = {"measured": MeasuredLinks}

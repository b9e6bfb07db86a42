"""Links that clients have to themselves, as somebody measured them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Protocol, Self

from pydantic import AfterValidator, Field, model_validator

from netsim.channel.capacity import CapacityTable
from netsim.channel.measured import Format, Offset, offset_ns, placed, read_capacity
from netsim.core.streams import uniform
from netsim.scenario.record import Record

LINK_HZ: Final = 1_000_000  # of a link's table; so a packet is a whole number in it


class OwnLink(NamedTuple):
    """Which file a client's link follows, and from where in its lap at time zero."""

    file_id: int
    offset_ns: int


class Links(Protocol):
    """Answers what a client's own uplink follows; its tables are by file id."""

    @property
    def kind(self) -> str: ...

    def tables(self) -> tuple[CapacityTable, ...]: ...

    def link(self, seed: int, client_id: int) -> OwnLink: ...


class MeasuredLinks(Record):
    """Every client's uplink follows a measured trace, which starts over at its end.

    It is the client's alone: no part of a cell's band, whose radio, width and sharing
    and a radio's own limit then play no part in uploads. ``assignment`` gives the files
    to clients in turn, or each a random one; ``start_offset`` is where in its lap a
    client's link is at time zero, drawn in whole milliseconds where it is random.
    """

    kind: Literal["measured"] = "measured"
    files: tuple[Annotated[str, Field(min_length=1), AfterValidator(placed)], ...] = (
        Field(min_length=1)
    )
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

"""One round of a server: its participations, and the updates that it merges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import simpy

from netsim.client.participation import Participation, arrived
from netsim.core.engine import Wake
from netsim.server.round_settings import RoundSettings


@dataclass(slots=True)
class Round:
    """A round under way; an outage of the server may interrupt it at any point."""

    round_id: int
    start_ns: int
    enough: simpy.Event  # the first ``num_first`` updates have arrived
    num_first: int | None = None  # updates that end the round; None: all
    limit: Wake | None = None  # the deadline
    serving: list[simpy.Process] = field(default_factory=list)  # one per cell
    parts: list[Participation] = field(default_factory=list)
    merged: list[Participation] = field(default_factory=list)
    num_arrived: int = 0
    is_deserted: bool = False

    @property
    def is_late(self) -> bool:
        """Return whether the deadline has passed."""
        return self.limit is not None and self.limit.processed

    def note_end(self, part: Participation) -> None:
        """Count an arrival."""
        self.num_arrived += part.status == "done"
        if self.num_arrived == self.num_first and not self.enough.triggered:
            self.enough.succeed()

    def arrivals(self) -> list[Participation]:
        """Return its updates in the order in which they arrived."""
        return sorted(arrived(self.parts), key=_by_arrival)

    def choose(
        self,
        in_time: Sequence[Participation],
        late: Sequence[Participation],
        settings: RoundSettings,
    ) -> None:
        """Choose the updates to merge, by client; discount the late ones, or make up
        for the tasks that were cut."""
        self.merged = sorted([*late, *in_time], key=_by_client)
        for part in self.merged:
            assert part.weight is not None
            staleness = self.round_id - part.round_id
            if staleness and settings.staleness_exponent:
                part.weight *= (1 + staleness) ** -settings.staleness_exponent
            if settings.corrects_arrivals:
                part.weight *= len(self.parts) / len(in_time)


def _by_arrival(part: Participation) -> tuple[int, int]:
    assert part.end_ns is not None
    return part.end_ns, part.client_id


def _by_client(part: Participation) -> tuple[int, int]:
    return part.client_id, part.job.start_index

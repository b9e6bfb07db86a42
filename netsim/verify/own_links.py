"""Checks, exactly, that transfers over clients' own links carry what traces gave.

A link's transfer has one segment, which holds the whole link at efficiency one; what it
carries is what passed of the trace's efficiency, ``link_hz * (C(end) - C(start))``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

from netsim.channel.capacity import CapacityTable, Step
from netsim.channel.own_links import LINK_HZ
from netsim.trace.rows import Lap, OwnLink, Segment, Transfer
from netsim.verify.finding import Finding
from netsim.verify.trace import grouped

LINK_UHZ = LINK_HZ * 10**6


@dataclass(frozen=True, slots=True)
class LinkTime:
    """The capacity of one link that has passed; it has no virtual time."""

    elapsed: Callable[[int], int]

    def at(self, tick_ns: int) -> tuple[int, int]:
        """Return zero virtual time, and that rows cover all of the time."""
        return 0, tick_ns


def link_times(
    links: Sequence[OwnLink], laps: Sequence[Lap]
) -> dict[tuple[int | None, str], LinkTime]:
    """Return the time of every link, by client and direction."""
    tables = {
        file_id: CapacityTable([Step(*row[1:]) for row in rows])
        for file_id, rows in grouped(laps, attrgetter("file_id")).items()
    }
    return {
        (link.client_id, link.direction): LinkTime(_moved(tables, link))
        for link in links
    }


def _moved(tables: Mapping[int, CapacityTable], link: OwnLink) -> Callable[[int], int]:
    table = tables[link.file_id]
    return lambda tick_ns: table.at(tick_ns + link.offset_ns)


def check_links(links: Sequence[OwnLink], laps: Sequence[Lap]) -> Iterator[Finding]:
    """Yield traces that do not tile time from zero on, and links without a trace."""
    files = grouped(laps, attrgetter("file_id"))
    for file_id, rows in files.items():
        ends = [0, *(row.end_ns for row in rows)]
        starts = [row.start_ns for row in rows]
        if starts != ends[:-1] or any(one >= two for one, two in pairwise(ends)):
            rule = "rows must tile one pass of the trace from time zero on"
            yield Finding("laps", f"file {file_id}", rule, f"{len(rows)} rows do not")
        least = min(row.spectral_efficiency_nbit_s_hz for row in rows)
        if least < 0 or not any(row.spectral_efficiency_nbit_s_hz for row in rows):
            rule = "efficiencies must not be negative, nor all zero"
            yield Finding("laps", f"file {file_id}", rule, f"the least is {least}")
    seen: set[tuple[int, str]] = set()
    for link in links:
        where = f"client {link.client_id} {link.direction}"
        if link.file_id not in files or link.offset_ns < 0:
            rule = "a link must start within one pass of its trace"
            detail = f"file_id {link.file_id}, offset_ns {link.offset_ns}"
            yield Finding("links", where, rule, detail)
        if (link.client_id, link.direction) in seen:
            yield Finding("links", where, "a client has one link", "there are more")
        seen.add((link.client_id, link.direction))


def check_use(
    on_links: Sequence[tuple[Transfer, Sequence[Segment]]],
) -> Iterator[Finding]:
    """Yield transfers that do not hold all of their link, or overlap on it."""
    by_link: dict[tuple[int | None, str], list[Transfer]] = defaultdict(list)
    for transfer, segments in on_links:
        by_link[transfer.client_id, transfer.direction].append(transfer)
        for segment in segments:
            if segment[3:] != (0, LINK_UHZ, 1):
                rule = "a segment must hold the whole of its client's own link"
                where = f"transfer {transfer.transfer_id}"
                yield Finding("segments", where, rule, str(segment[3:]))
    for own in by_link.values():
        for before, after in pairwise(sorted(own, key=attrgetter("start_ns"))):
            if after.start_ns < before.end_ns:
                rule = "a client's own link must carry one transfer at a time"
                where = f"transfer {after.transfer_id}"
                detail = f"transfer {before.transfer_id} ends at {before.end_ns}"
                yield Finding("transfers", where, rule, detail)

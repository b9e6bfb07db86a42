"""Clients' own measured links: exact ends by bisection in capacity tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Protocol

import simpy

from netsim.band.transfer import WORK_PER_BIT, Message, Pace, Terms, Transfer
from netsim.channel.capacity import CapacityTable
from netsim.channel.link import Channel
from netsim.channel.own_links import LINK_HZ, OwnLink
from netsim.core.clock import MAX_NS
from netsim.core.engine import BANDS, Alarm, Engine
from netsim.errors import InputError
from netsim.trace import rows
from netsim.trace.literals import Status
from netsim.trace.tables import Rows

LINK_UHZ = LINK_HZ * 10**6


class Medium(Protocol):
    """Carries transfers: a cell's band or the clients' own links."""

    @property
    def direction(self) -> str: ...

    def send(
        self,
        message: Message,
        channel: Channel,
        *,
        terms: Terms | None = None,
        ceiling_uhz: int | None = None,
        pace: Pace | None = None,
        ends_as: Status = "done",
    ) -> Transfer: ...

    def cut(self, transfer: Transfer, status: Status) -> None: ...

    def full_power_s(self, transfer: Transfer) -> float: ...


class LinkChoice(Protocol):
    """Returns the file that a client's link follows, and its offset."""

    def __call__(self, client_id: int) -> OwnLink: ...


class OwnLinks:
    """Transfers that share no band: each uses the whole capacity of its client's link.

    The one segment of a transfer holds the whole link. A link's row is written at its
    first use. Transfers that end at one tick end in the order of client ids.
    """

    def __init__(
        self,
        env: Engine,
        *,
        cell_id: int,
        direction: str,
        tables: Sequence[CapacityTable],
        choice: LinkChoice,
        ledger: Rows,
        transfer_ids: Iterator[int],
    ) -> None:
        self.direction = direction
        self._cell_id = cell_id
        self._env = env
        self._tables = tables
        self._choice = choice
        self._ledger = ledger
        self._transfer_ids = transfer_ids
        self._links: dict[int, OwnLink] = {}  # the links used so far
        self._ends: list[tuple[int, int, Transfer]] = []
        self._alarm = Alarm(env, BANDS, self._on_wake)

    def send(
        self,
        message: Message,
        channel: Channel,
        *,
        terms: Terms | None = None,
        ceiling_uhz: int | None = None,
        pace: Pace | None = None,
        ends_as: Status = "done",
    ) -> Transfer:
        """Start a transfer at this tick; channel, terms, ceiling and
        pace have no effect."""
        assert message.bits > 0
        assert message.client_id is not None
        transfer = Transfer(
            next(self._transfer_ids),
            message,
            channel,
            simpy.Event(self._env),
            ends_as=ends_as,
        )
        transfer.start_ns = transfer.since_ns = self._env.now
        transfer.is_live, transfer.pin_uhz = True, LINK_UHZ
        end_ns = self._end_ns(message.client_id, message.bits)
        heappush(self._ends, (end_ns, transfer.order, transfer))
        self._wake_for_next()
        return transfer

    def cut(self, transfer: Transfer, status: Status) -> None:
        """End a transfer at this tick with ``status`` unless it has ended."""
        self._finish_due()
        if not transfer.done.triggered:
            self._end(transfer, status)

    def full_power_s(self, transfer: Transfer) -> float:
        """Return the seconds of sending until now, all of them at full power."""
        return transfer.airtime_by(self._env.now) / 1e9

    def _end_ns(self, client_id: int, bits: int) -> int:
        """Return the tick at which the client's link has carried ``bits``, starting
        now."""
        link = self._links.get(client_id)
        if link is None:
            link = self._links[client_id] = self._choice(client_id)
            self._ledger.links.append(rows.OwnLink(client_id, self.direction, *link))
        table = self._tables[link.file_id]
        need = -(-bits * WORK_PER_BIT // LINK_UHZ)
        reached = table.at(self._env.now + link.offset_ns)
        end_ns = table.first_ns(reached + need) - link.offset_ns
        if end_ns > MAX_NS:
            raise InputError(
                f"client {client_id} would send its {bits} bits beyond {MAX_NS} ns "
                "over its own link; take a trace of more capacity"
            )
        return end_ns

    def _wake_for_next(self) -> None:
        ends = self._ends
        while ends and not ends[0][2].is_live:
            heappop(ends)
        if ends:
            self._alarm.set(ends[0][0])

    def _on_wake(self) -> None:
        self._finish_due()
        self._wake_for_next()

    def _finish_due(self) -> None:
        ends = self._ends
        while ends and ends[0][0] <= self._env.now:
            transfer = heappop(ends)[2]
            if transfer.is_live:
                self._end(transfer, transfer.status)

    def _end(self, transfer: Transfer, status: Status) -> None:
        now_ns = self._env.now
        transfer.is_live = False
        transfer.airtime_ns = now_ns - transfer.start_ns
        if transfer.airtime_ns:
            span = (transfer.transfer_id, transfer.start_ns, now_ns)
            terms = (0, LINK_UHZ, 1)  # the table's efficiency multiplies the 1
            self._ledger.segments.append(rows.Segment(*span, *terms))
        row = transfer.end(self._cell_id, self.direction, now_ns, status)
        self._ledger.transfers.append(row)

"""Transfers that do not end, found by how many changes of the channel they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from netsim.band.transfer import WORK_PER_BIT, Transfer
from netsim.errors import InputError

PATIENCE = 2_000_000  # changes of a band's channels, ten seconds on a processor
PART = 0.01  # of a message, for every patience


class Progress:
    """Counts the changes of a band's channels since a transfer ended."""

    def __init__(self) -> None:
        self._num_changes = 0
        self._num_looks = 0

    def restart(self) -> None:
        """Note that a transfer has ended."""
        self._num_changes = self._num_looks = 0

    def is_due(self, num_changes: int) -> bool:
        """Count changes, and return whether it is time to look at the transfers."""
        self._num_changes += num_changes
        return self._num_changes >= PATIENCE * (self._num_looks + 1)

    def require(
        self, live: Iterable[Transfer], work_left: Callable[[Transfer], int]
    ) -> None:
        """Raise ``InputError`` if no live transfer has sent one more hundredth of its
        bits for each time that one has looked."""
        self._num_looks += 1
        sent = {one: 1 - work_left(one) / _work(one) for one in live}
        if not sent:
            return
        first = max(sent, key=lambda one: sent[one])
        if sent[first] < PART * self._num_looks:
            raise InputError(
                f"no transfer of a band ended in {self._num_changes:,} changes of its "
                f"channels: {_named(first)} has sent {100 * sent[first]:.3g} % of "
                f"{first.message.bits} bits (C/N0 {first.cn0_hz:.3g} Hz); widen the "
                "band, raise the transmit power, move the client closer or lengthen "
                "`coherence_time`; under a `minimum_snr` set an `outage_timeout`"
            )


def _work(transfer: Transfer) -> int:
    return transfer.message.bits * WORK_PER_BIT


def _named(transfer: Transfer) -> str:
    client_id = transfer.message.client_id
    who = "the broadcast" if client_id is None else f"client {client_id}"
    return f"the transfer of {who}"

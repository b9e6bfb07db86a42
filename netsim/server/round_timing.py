"""What a round takes besides its clients, for who plans rounds before they happen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoundTiming:
    """Seconds of a round that are the server's own, and when it stops waiting, counted
    from the round's start."""

    announce_s: float
    merge_s: float
    deadline_s: float | None = None

"""The words of the trace that come from a closed list; TRACE.md explains each."""

from __future__ import annotations

from typing import Literal, TypeAlias

Status: TypeAlias = Literal[
    "done",
    "late",
    "surplus",
    "outage",
    "failed",
    "left",
    "battery",
    "diverged",
    "server-down",
    "unfinished",
    "unmerged",
]

EventKind: TypeAlias = Literal[
    "away or busy",
    "empty round",
    "nobody there",
    "battery empty",
    "handover",
    "deadline",
    "enough",
    "diverged",
    "dismissed",
    "server down",
    "server up",
    "pilot",
    "plan",
    "floor",
    "fallback",
    "stop",
]

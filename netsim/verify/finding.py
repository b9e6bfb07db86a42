"""What an audit found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One broken rule: where, which, and the two values that disagree."""

    table: str  # or "files"
    row: str  # "transfer 17", or a path in the run's folder
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.table}, {self.row}: {self.rule} ({self.detail})"

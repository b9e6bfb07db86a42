"""What a server app has sent before, after the same history: whether it repeats."""

from __future__ import annotations

from dataclasses import dataclass

from fl.memory.memory import Memory
from fl.memory.recipe import digest
from fl.memory.store import Entry


class Unrepeatable(ValueError):
    """A server app that sends other messages after the same history."""


@dataclass(slots=True)
class Journal:
    """Remembers what followed each history of an app; ``app`` names all that decides
    it. While it is strict, another continuation is refused."""

    memory: Memory
    app: str
    is_strict: bool = False

    def note(self, before: str, after: str) -> None:
        """Note that a history, by its digest, went on to another one."""
        name = digest("flower journal", {"app": self.app, "history": before})
        entry = self.memory.recall(name, str)
        if entry is None:
            self.memory.remember(name, Entry(after))
        elif self.is_strict and entry.record != after:
            raise Unrepeatable(
                "its server sends other messages than the run that was begun did, "
                "after the same replies, so that run cannot be gone on with: seed what "
                "the server draws, or run it into another folder"
            )

"""What two scenarios say differently, path by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

MAX_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; a key that only one side has is None on the other."""

    path: tuple[str | int, ...]
    before: object
    after: object

    @property
    def dotted(self) -> str:
        """Return the path as ``--set`` takes it."""
        return ".".join(map(str, self.path))

    def __str__(self) -> str:
        return f"{self.dotted}: {_shown(self.before)} -> {_shown(self.after)}"


def changes(before: BaseModel, after: BaseModel) -> list[Change]:
    """Return what differs, in the order of the scenario; another kind is one change."""
    return list(
        _changes(
            (), *(r.model_dump(mode="json", by_alias=True) for r in (before, after))
        )
    )


def _changes(
    path: tuple[str | int, ...], before: object, after: object
) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if before.get("kind") == after.get("kind"):
            for key in dict.fromkeys([*before, *after]):
                yield from _changes((*path, key), before.get(key), after.get(key))
            return
    elif isinstance(before, Sequence) and isinstance(after, Sequence):
        is_list = not isinstance(before, str) and not isinstance(after, str)
        if is_list and len(before) == len(after):
            for index, pair in enumerate(zip(before, after, strict=True)):
                yield from _changes((*path, index), *pair)
            return
    if before != after:
        yield Change(path, before, after)


def _shown(value: object) -> str:
    """Return a value as a person would name it, a record by its kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        named = value.get("kind")
        pairs = ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
        text = str(named) if named is not None else "{" + pairs + "}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        text = "[" + ", ".join(map(_shown, value)) + "]"
    else:
        text = str(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 3] + "..."

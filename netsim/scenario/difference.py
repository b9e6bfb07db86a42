"""The differences of two scenarios, path by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from pydantic import BaseModel

MAX_SHOWN_CHARS = 60
NUM_ALIKE_SHOWN = 20  # equal characters before the first difference


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; None stands for a missing key."""

    path: tuple[str | int, ...]
    before: object
    after: object

    @property
    def dotted(self) -> str:
        """Return the path in the form of ``--set``."""
        return ".".join(map(str, self.path))

    def __str__(self) -> str:
        before, after = _text(self.before), _text(self.after)
        begin = num_alike(before, after)
        shown = (_cut(text, begin) for text in (before, after))
        return f"{self.dotted}: {' -> '.join(shown)}"


def changes(before: BaseModel, after: BaseModel) -> list[Change]:
    """Return the differences in the order of the scenario; another ``kind`` is one."""
    dumped = (r.model_dump(mode="json", by_alias=True) for r in (before, after))
    return value_changes(*dumped)


def value_changes(
    before: Mapping[str, object], after: Mapping[str, object]
) -> list[Change]:
    """Return the differences of two scenarios that are read as plain values."""
    return list(_changes((), before, after))


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


def _text(value: object) -> str:
    """Return a value as short text, a record as its kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        named = value.get("kind")
        pairs = ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
        return str(named) if named is not None else "{" + pairs + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value)


def num_alike(*rows: Sequence[str]) -> int:
    """Return the length of the longest common prefix."""
    columns = zip(*rows, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def _cut(text: str, begin: int) -> str:
    """Return at most 60 characters, those around the first difference at ``begin``."""
    if len(text) <= MAX_SHOWN_CHARS:
        return text
    is_seen = begin < MAX_SHOWN_CHARS - 3
    start = 0 if is_seen else begin - NUM_ALIKE_SHOWN
    head = "..." if start else ""
    part = text[start : start + MAX_SHOWN_CHARS - len(head)]
    if start + len(part) < len(text):
        part = part[:-3] + "..."
    return head + part

"""A user's own classes: their source is a part of what a remembered result is named by.

Two classes of the same settings, or one before and after an edit, learn differently.
What their modules import in turn is not looked at.
"""

from __future__ import annotations

import hashlib
import inspect
import secrets
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from pydantic import BaseModel

OURS = frozenset({"fl", "netsim", "pydantic"}) | sys.stdlib_module_names


def own_code(parts: Iterable[object]) -> tuple[str, ...]:
    """Return name and digest of every class among the parts, and in them, that is not
    of this project."""
    classes = {cls for part in parts for cls in _classes(part)}
    return tuple(sorted(f"{_name(cls)} {_digest(cls)}" for cls in classes))


def _classes(part: object) -> Iterator[type]:
    for cls in type(part).__mro__:
        if cls.__module__.partition(".")[0] not in OURS:
            yield cls
    if isinstance(part, BaseModel):
        for _, value in part:
            yield from _classes(value)
    elif isinstance(part, tuple):
        for value in part:
            yield from _classes(value)


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


@cache
def _digest(cls: type) -> str:
    """Return the digest of a class's module as it is when first asked for; of a class
    that was typed in, of its own source; without any, what is never the same again."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    try:
        source = Path(file).read_bytes() if file else inspect.getsource(cls).encode()
    except (OSError, TypeError):
        source = secrets.token_bytes()
    return hashlib.sha256(source).hexdigest()

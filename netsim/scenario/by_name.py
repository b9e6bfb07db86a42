"""Methods that are told what their arguments name, as many or as few as they need."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache

from netsim.core.quantities import did_you_mean


@cache
def asked(method: Callable[..., object]) -> tuple[str, ...]:
    """Return the names of a method's arguments."""
    return tuple(inspect.signature(method).parameters)[1:]


def unknown_argument(cls: type, name: str, known: tuple[str, ...]) -> str:
    """Return what is wrong with the arguments of a class's method, or an empty text."""
    method = getattr(cls, name, None)
    for argument in () if method is None else asked(method):
        if argument not in known:
            hint = did_you_mean(argument, known)
            return f"asks for {argument!r} in {name}{hint} ({', '.join(known)})"
    return ""


def told(cls: type, name: str, facts: Mapping[str, object]) -> dict[str, object]:
    """Return the facts that a class's method asks for, by name."""
    return {one: facts[one] for one in asked(getattr(cls, name))}

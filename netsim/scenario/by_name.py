"""Methods of a user's own that are told what their arguments name."""

from __future__ import annotations

from fl.record import asked
from netsim.core.quantities import did_you_mean


def unknown_argument(cls: type, name: str, known: tuple[str, ...]) -> str:
    """Return what is wrong with the arguments of a class's method, or an empty text."""
    method = getattr(cls, name, None)
    for argument in () if method is None else asked(method):
        if argument not in known:
            hint = did_you_mean(argument, known)
            return f"asks for {argument!r} in {name}{hint} ({', '.join(known)})"
    return ""

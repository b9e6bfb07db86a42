"""What a class of a user's own raised, in one line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pydantic import BaseModel

from fl.record import CHECKED, OURS, is_ours

FAR = "raised_far_away"  # an error's line, written by the worker that saw its traceback


def failure(error: BaseException) -> str | None:
    """Return one line about an exception that a user's class raised: module, class,
    method, place and exception; None where no such class is involved."""
    for one in reversed(list(_causes(error))):
        if line := vars(one).get(FAR):
            return str(line)
        for frame, number in reversed(list(traceback.walk_tb(one.__traceback__))):
            if (method := _method(frame)) is not None:
                file = Path(frame.f_code.co_filename).name
                reason = " ".join(str(one).split())[:300]
                kind = type(one).__name__
                return f"{method} ({file}, line {number}) raised {kind}: {reason}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was made of; SimPy raises copies."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def _method(frame: FrameType) -> str | None:
    """Return the name of the method that a frame runs, if it is of a user's class."""
    self = frame.f_locals.get("self", frame.f_locals.get("cls"))
    cls = self if isinstance(self, type) else type(self)
    module = str(frame.f_globals.get("__name__", ""))
    if is_ours(cls) or module.partition(".")[0] in OURS:
        return None
    if not issubclass(cls, BaseModel) and not any(map(_has_checks, cls.__mro__)):
        return None
    return f"{cls.__module__}:{cls.__qualname__}.{frame.f_code.co_name}"


def _has_checks(cls: type) -> bool:
    return any(CHECKED in getattr(one, "__dict__", ()) for one in vars(cls).values())

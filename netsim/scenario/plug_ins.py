"""Classes from outside the package: what they answer is checked, once per call.

Beside a seam's protocol stand its ``Answers``: what each method must return. A user's
class is wrapped in these checks when it is loaded; the package's own classes are not.
"""

from __future__ import annotations

import functools
import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel

from netsim.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

OURS = frozenset({"fl", "netsim", "pydantic"})


class Answer(NamedTuple):
    """What a method must return, and whether an answer to its arguments does so.

    A ``list`` is any iterable, made a list; of ``each`` item and the one before it is
    asked as they come.
    """

    rule: str
    holds: Callable[..., bool]
    form: Literal["value", "list", "each"] = "value"


Answers: TypeAlias = Mapping[str, Answer]


def is_whole(value: object, least: int = 0) -> bool:
    """Return whether a value is a whole number, and no float that looks like one."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        return False
    return int(value) >= least


def is_number(value: object, least: float = -math.inf, most: float = math.inf) -> bool:
    """Return whether a value is a finite number from ``least`` to ``most``."""
    if not isinstance(value, Real):
        return False
    return math.isfinite(value) and least <= float(value) <= most


def are_numbers(
    values: npt.ArrayLike,
    length: int,
    least: float = -math.inf,
    most: float = math.inf,
) -> bool:
    """Return whether an array has this many finite numbers from ``least`` to
    ``most``."""
    import numpy as np  # reading a scenario needs none

    found = np.asarray(values, dtype=np.float64)
    is_within = np.isfinite(found) & (found >= least) & (found <= most)
    return found.shape == (length,) and bool(is_within.all())


def is_ours(cls: type) -> bool:
    """Return whether a class belongs to the package, or to what it is built on."""
    return cls.__module__.partition(".")[0] in OURS


def guard(cls: type, answers: Answers) -> None:
    """Check what the methods and properties return that a user's class defines."""
    for owner in cls.__mro__:
        if owner is object or is_ours(owner):
            continue
        for name, answer in answers.items():
            found = vars(owner).get(name)
            if isinstance(found, FunctionType) and not _is_checked(found):
                setattr(owner, name, _checked(found, name, answer))
            elif isinstance(found, property) and not _is_checked(found.fget):
                assert found.fget is not None
                setattr(owner, name, property(_checked(found.fget, name, answer)))


def _is_checked(method: object) -> bool:
    return "is_checked" in vars(method)


def _checked(
    method: Callable[..., Any], name: str, answer: Answer
) -> Callable[..., object]:
    def require(self: object, found: object, *args: object, **kwargs: object) -> None:
        if not _holds(answer, found, args, kwargs):
            cls = type(self)
            raise InputError(
                f"{cls.__module__}:{cls.__qualname__}.{name} must return "
                f"{answer.rule}, got {_short(found)}"
            )

    def one_by_one(self: object, found: Iterable[object]) -> Iterator[object]:
        last = None
        for one in found:
            require(self, one, last)
            yield one
            last = one

    @functools.wraps(method)
    def checked(self: object, *args: object, **kwargs: object) -> object:
        found = method(self, *args, **kwargs)
        if answer.form == "each":
            return one_by_one(self, found)
        if answer.form == "list":
            found = list(found)
        require(self, found, *args, **kwargs)
        return found

    checked.is_checked = True  # type: ignore[attr-defined]
    return checked


def _holds(
    answer: Answer, found: object, args: tuple[object, ...], kwargs: dict[str, object]
) -> bool:
    try:
        return bool(answer.holds(found, *args, **kwargs))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return False  # it is of another type altogether


def _short(found: object) -> str:
    text = " ".join(repr(found).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def failure(error: BaseException) -> str | None:
    """Return one line about an exception that a user's class raised: module, class,
    method, place and exception; None where no such class is involved."""
    for one in reversed(list(_causes(error))):
        for frame, line in reversed(list(traceback.walk_tb(one.__traceback__))):
            if (method := _method(frame)) is not None:
                file = Path(frame.f_code.co_filename).name
                reason = " ".join(str(one).split())[:300]
                kind = type(one).__name__
                return f"{method} ({file}, line {line}) raised {kind}: {reason}"
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
    if not issubclass(cls, BaseModel) or is_ours(cls):
        return None
    if module.partition(".")[0] in OURS:
        return None
    return f"{cls.__module__}:{cls.__qualname__}.{frame.f_code.co_name}"

"""Classes from outside the package: what they answer is checked, once per call.

Each seam's protocol has its ``Answers``: what each method must return. A user's
class is wrapped in these checks when it is loaded; the package's own classes are not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from numbers import Integral, Real
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from fl.record import CHECKED, is_ours
from netsim.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt


class Answer(NamedTuple):
    """What a method must return, and whether an answer to its arguments does so.

    A ``list`` is any iterable, made a list; of ``each`` item and the one before it is
    asked as they come, and ``endless`` ones must not end. ``then`` is what the methods
    of an answer, or of each, must return in turn. A method that has ``names`` asks by
    its arguments for some of them. ``unless`` is a trait under which it is not asked.
    """

    rule: str
    holds: Callable[..., bool]
    form: Literal["value", "list", "each", "endless"] = "value"
    then: Mapping[str, Answer] = {}
    names: tuple[str, ...] = ()
    unless: str = ""


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


def disown(cls: type, answers: Answers) -> None:
    """Take from a user's class each trait that it inherits, and under which a method
    that it changes is not asked."""
    for name, answer in answers.items():
        if answer.unless and _place(cls, name) < (above := _place(cls, "traits")):
            traits = vars(cls.__mro__[above])["traits"]
            if not isinstance(traits, Mapping):
                continue  # a property: it knows the settings
            kept = {one: why for one, why in traits.items() if one != answer.unless}
            type.__setattr__(cls, "traits", kept)


def _place(cls: type, name: str) -> int:
    """Return how far up a class's ancestors one defines this name."""
    return next(i for i, one in enumerate(cls.__mro__) if name in vars(one))


def _is_checked(method: object) -> bool:
    return CHECKED in vars(method)


def _checked(
    method: Callable[..., Any], name: str, answer: Answer
) -> Callable[..., object]:
    def require(self: object, found: object, *args: object, **kwargs: object) -> None:
        if not _holds(answer, found, args, kwargs):
            raise wrong(self, name, f"{answer.rule}, got {_short(found)}")
        if answer.then:
            guard(type(found), answer.then)

    def one_by_one(self: object, found: Any) -> Generator[object, object, None]:
        yield from _each(found, functools.partial(require, self))
        if answer.form == "endless":
            raise wrong(self, name, f"{answer.rule}, without end, and it ended")

    @functools.wraps(method)
    def checked(self: object, *args: object, **kwargs: object) -> object:
        found = method(self, *args, **kwargs)
        if answer.form in ("each", "endless") and isinstance(found, Iterable):
            return one_by_one(self, found)
        if answer.form == "list" and isinstance(found, Iterable):
            found = list(found)
        require(self, found, *args, **kwargs)
        return found

    setattr(checked, CHECKED, True)
    return checked


def _each(
    found: Any, require: Callable[[object, object], None]
) -> Generator[object, object, None]:
    """Yield what an iterable or a generator yields, each checked with the one before;
    what is sent is passed on."""
    last = sent = None
    items = iter(found)
    while True:
        try:
            last, before = next(items) if sent is None else items.send(sent), last
        except StopIteration:
            return
        require(last, before)
        sent = yield last


def wrong(asked: object, name: str, text: str) -> InputError:
    """Return the error for what a method of a user's class returned."""
    cls = type(asked)
    return InputError(f"{cls.__module__}:{cls.__qualname__}.{name} must return {text}")


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

"""A user's class is asked everything twice: what it answers, and what it changes.

Only questions whose arguments are plain values can be asked again: numbers, texts,
arrays, records of these, and generators, each of which gets a copy of the stream.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import islice
from types import FunctionType
from typing import Any

import numpy as np
from pydantic import BaseModel

from fl.record import is_ours
from netsim.scenario.plug_ins import Answer, Answers

ATOMS = (int, float, str, bytes, type(None), np.generic, BaseModel)
MOST_TWICE = 100  # questions to each method; the others are asked once
FIRST_ITEMS = 10  # that are compared of an answer that comes one by one


@dataclass
class Notes:
    """How often each method was asked, and what was wrong with its answers."""

    asked: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)


@contextmanager
def asked_twice(cls: type, answers: Answers) -> Iterator[Notes]:
    """Ask the methods that a user's class defines twice, for as long as this lasts."""
    notes = Notes()
    found = [
        (owner, name, method)
        for owner in cls.__mro__
        if owner is not object and not is_ours(owner)
        for name, answer in answers.items()
        if isinstance(method := vars(owner).get(name), FunctionType)
    ]
    for owner, name, method in found:
        notes.asked[name] = 0
        setattr(owner, name, _twice(method, name, answers[name], notes))
    try:
        yield notes
    finally:
        for owner, name, method in found:
            setattr(owner, name, method)


def _twice(
    method: Callable[..., Any], name: str, answer: Answer, notes: Notes
) -> Callable[..., Any]:
    @functools.wraps(method)
    def asked(self: object, *args: object, **kwargs: object) -> object:
        notes.asked[name] += 1
        given = [*args, *kwargs.values()]
        if notes.asked[name] > MOST_TWICE or not all(map(_is_plain, given)):
            return method(self, *args, **kwargs)
        before = copy.deepcopy(given)
        first = method(self, *copy.deepcopy(args), **copy.deepcopy(kwargs))
        second = answered = method(self, *args, **kwargs)
        if isinstance(first, Iterator) and isinstance(second, Iterator):
            first, second = (list(islice(one, FIRST_ITEMS)) for one in (first, second))
            answered = method(self, *args, **kwargs)
        if not same(first, second):
            notes.wrong[name] = "answers the same question in two ways"
        elif not same(before, given):
            notes.wrong[name] = "changes its arguments"
        return answered

    return asked


def _is_plain(value: object) -> bool:
    if isinstance(value, ATOMS) or _is_array(value) or _is_stream(value):
        return True
    parts = _parts(value)
    return parts is not None and all(map(_is_plain, parts))


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, their arrays in every number; what is no
    plain value is not judged."""
    if type(one) is not type(other):
        return False
    if _is_array(one):
        if one.shape != other.shape:
            return False
        return bool(((one == other) | ((one != one) & (other != other))).all())
    if isinstance(one, ATOMS):
        return bool(one == other or (one != one and other != other))
    parts, others = _parts(one), _parts(other)
    if parts is None or others is None:
        return True
    return len(parts) == len(others) and all(map(same, parts, others))


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) or type(value).__module__ == "torch"


def _is_stream(value: object) -> bool:
    return isinstance(value, np.random.Generator)


def _parts(value: object) -> list[object] | None:
    """Return what a record or a collection holds, in order; None for anything else."""
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    if isinstance(value, list | tuple):
        return [*value]
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, one.name) for one in fields(value)]
    return None

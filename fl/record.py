"""The one base of every choice of a scenario, and what its methods are told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict

OURS = frozenset({"fl", "netsim", "pydantic"})
CHECKED = "is_checked"  # marks a method of a user's class whose answers are checked


class Record(BaseModel):
    """A frozen, strictly typed record that refuses unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        defer_build=True,  # a run uses few of the kinds
    )


def is_ours(cls: type) -> bool:
    """Return whether a class belongs to the package, or to what it is built on."""
    return cls.__module__.partition(".")[0] in OURS


@cache
def asked(method: Callable[..., object]) -> tuple[str, ...]:
    """Return the names of a method's arguments: what it asks for."""
    return tuple(inspect.signature(method).parameters)[1:]


def told(method: Callable[..., object], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a method asks for, by name."""
    return {name: facts[name] for name in asked(method)}

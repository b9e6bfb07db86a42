"""A class of a user's own that a reader of runs names and does not load."""

from __future__ import annotations

from typing import cast

from pydantic import BaseModel

LOADS_CODE = "loads_code"  # the key of a validation context; False loads nothing


class NotLoaded(Exception):
    """The answer is in a user's class, ``kind``, which was not loaded."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Foreign:
    """Stands in a scenario for a record of a user's class: it answers nothing."""

    def __init__(self, kind: str) -> None:
        self._foreign_kind = kind

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotLoaded(self._foreign_kind)


def foreign(kind: str) -> BaseModel:
    """Return what stands for a record of a user's class that is not loaded."""
    return cast(BaseModel, _Foreign(kind))

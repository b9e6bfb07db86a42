"""The one base of every configuration record in ``fl``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen, strictly typed record that refuses unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, defer_build=True
    )

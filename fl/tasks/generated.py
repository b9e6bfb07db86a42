"""What generated tasks share: numbers that depend on a sample's index alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.memory import recipe
from fl.record import Record
from fl.streams import stream
from fl.tasks.task import Split, no_column

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


class Generated(Record):
    """A task whose settings determine all samples; each training sample has a user."""

    kind: str
    num_samples: int = Field(default=10_000, ge=1)
    num_test: int = Field(default=1_000, ge=1)
    num_public: int = Field(default=0, ge=0)
    heterogeneity: float = Field(default=0.0, ge=0, le=1)
    num_users: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)

    @property
    def digest(self) -> str:
        """Return the digest of the settings."""
        return recipe.digest(f"{self.kind} 1", {"settings": recipe.settings(self)})

    def column(self, name: str) -> NDArray[np.str_]:
        """Return each training sample's ``user``."""
        if name != "user":
            raise no_column(self.kind, name, "user")
        return self._users(np.arange(self.num_samples)).astype(np.str_)

    def _num_samples(self, split: Split) -> int:
        return {
            "train": self.num_samples,
            "test": self.num_test,
            "public": self.num_public,
        }[split]

    def _users(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return indices % self.num_users


def uniform(seed: int, purpose: str, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one number in [0, 1) per index, independent of the other indices.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014) at counter ``key + index``.
    """
    key = stream(seed, "counted", purpose).integers(2**64, dtype=np.uint64)
    x = key + indices.astype(np.uint64) * _STEP  # wraps around on purpose
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    x = x ^ (x >> np.uint64(31))
    found: NDArray[np.float64] = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found

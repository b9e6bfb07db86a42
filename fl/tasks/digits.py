"""Handwritten digits: 1797 grey images of 8 x 8 pixels in ten classes.

The data file in this folder is the test set of E. Alpaydin and C. Kaynak, "Optical
Recognition of Handwritten Digits", UCI Machine Learning Repository (1998),
doi:10.24432/C50P49, licensed CC BY 4.0, as scikit-learn ships them: 64 pixels from 0
to 16 and the label, one image per line, compressed but otherwise unchanged.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fl.record import Record
from fl.streams import stream
from fl.tasks.task import Objective, Quiz, Split, Task, no_column
from fl.tasks.tokens import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"


class Digits(Record):
    """Handwritten digits; 25 % of each class are for the test and 20 % are public."""

    kind: Literal["digits"] = "digits"
    objective: ClassVar[Objective] = "image-classification"
    num_labels: ClassVar = 10
    max_length: ClassVar = 0

    @property
    def digest(self) -> str:
        """Return the digest of the data and of the rule that splits them."""
        return hashlib.sha256(f"{SHA256} 25% test 20% public".encode()).hexdigest()

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the digit shown by each image of a split."""
        digits: NDArray[np.uint8] = _table()[_rows(split), 64]
        return digits.astype(np.int64)

    def batch(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return ``pixel_values`` (b, 1, 8, 8) from -1 to 1, and ``labels``."""
        import torch

        rows = _table()[_rows(split)[indices]]
        pixels = rows[:, :64].reshape(-1, 1, 8, 8).astype(np.float32) / 8 - 1
        return {
            "pixel_values": torch.from_numpy(pixels),
            "labels": torch.from_numpy(rows[:, 64].astype(np.int64)),
        }

    def column(self, name: str) -> NDArray[np.str_]:
        raise no_column(self.kind, name)

    def corpus(self) -> list[str]:
        return []

    def read_by(self, tokenizer: Tokenizer | None) -> Task:
        return self

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.zeros(len(indices), dtype=np.int64)

    def quiz(self) -> Quiz | None:
        return None


@cache
def _table() -> NDArray[np.uint8]:
    """Return the file as 1797 rows of 64 pixels and the label."""
    content = gzip.decompress(files("fl.tasks").joinpath("digits.csv.gz").read_bytes())
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise OSError("fl/tasks/digits.csv.gz is damaged: install the package again")
    numbers = content.replace(b"\n", b",").rstrip(b",").split(b",")
    return np.array(numbers, dtype=np.uint8).reshape(-1, 65)


@cache
def _rows(split: Split) -> NDArray[np.int64]:
    """Return the rows of a split, in file order."""
    digits = _table()[:, 64]
    chosen = []
    for digit in range(10):
        rows = np.flatnonzero(digits == digit)
        shuffled = stream(0, "digits split", digit).permutation(rows)
        num_test, num_public = len(rows) // 4, len(rows) // 5
        test, public, train = np.split(shuffled, [num_test, num_test + num_public])
        chosen.append({"test": test, "public": public, "train": train}[split])
    return np.sort(np.concatenate(chosen))

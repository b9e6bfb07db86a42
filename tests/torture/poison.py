"""Tasks with a loss that is not finite, or that exhaust the memory."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fl.tasks import Digits

HUNGER_BYTES = 6 * 10**9  # to ask for; a page that nobody writes to costs nothing


class Poisoned(Digits):
    """The digits, with training samples whose loss is not finite.

    The test samples and every other training sample are intact.
    """

    kind: ClassVar[str] = "poisoned"
    samples: tuple[int, ...] = ()

    def batch(self, split, indices):
        batch = super().batch(split, indices)
        if split == "train":
            is_bad = np.isin(indices, self.samples)
            batch["pixel_values"][is_bad] = float("inf")
        return batch


class Greedy(Digits):
    """The digits, with training batches larger than any memory."""

    kind: ClassVar[str] = "greedy"

    def batch(self, split, indices):
        batch = super().batch(split, indices)
        if split == "train":
            import torch

            batch["pixel_values"] = torch.empty(2**50, dtype=torch.float64)
        return batch


class Hungry(Digits):
    """The digits, with training batches that allocate much memory and use little."""

    kind: ClassVar[str] = "hungry"

    def batch(self, split, indices):
        batch = super().batch(split, indices)
        if split == "train":
            import torch

            torch.empty(HUNGER_BYTES, dtype=torch.uint8)
        return batch

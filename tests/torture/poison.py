"""Tasks that cannot be borne: by a loss, and by the memory."""

from __future__ import annotations

import numpy as np

from fl.tasks import Digits

HUNGER_BYTES = 6 * 10**9  # to ask for; a page that nobody writes to costs nothing


class Poisoned(Digits):
    """The digits, with training samples that no loss can bear.

    The test is clean, and so is what every other sample shows.
    """

    samples: tuple[int, ...] = ()

    def batch(self, split, indices):
        batch = super().batch(split, indices)
        if split == "train":
            is_bad = np.isin(indices, self.samples)
            batch["pixel_values"][is_bad] = float("inf")
        return batch


class Greedy(Digits):
    """The digits, for whose training batches no computer has the memory."""

    def batch(self, split, indices):
        batch = super().batch(split, indices)
        if split == "train":
            import torch

            batch["pixel_values"] = torch.empty(2**50, dtype=torch.float64)
        return batch


class Hungry(Digits):
    """The digits, whose training batches ask for much memory, and then use little."""

    def batch(self, split, indices):
        batch = super().batch(split, indices)
        if split == "train":
            import torch

            torch.empty(HUNGER_BYTES, dtype=torch.uint8)
        return batch

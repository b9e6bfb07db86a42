"""DP-SGD (Abadi et al., "Deep learning with differential privacy", arXiv 1607.00133):
each sample's gradient is clipped, and noise added to their sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from fl.local.plain import descend
from fl.local.privacy import LACKS, epsilon, is_there
from fl.local.strategy import PLAIN, Cohort, Demands, Samples
from fl.record import Record


class DPSGD(Record):
    """Clips the gradient of every sample, over all that is trained, and adds noise.

    A step takes each sample of the client with one probability (Poisson sampling, as
    the accountant assumes). All that leaves the client follows from these sums: its
    adapter with what is trained outside LoRA; its losses stay. Without ``max_norm`` it
    trains plainly. With ``delta`` the table ``updates`` holds the epsilon spent by all
    starts so far, for one sample more or less; it needs the extra ``privacy``.
    """

    kind: Literal["dp-sgd"] = "dp-sgd"
    max_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    noise_multiplier: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    delta: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _check_noise(self) -> DPSGD:
        if self.max_norm is None and self.noise_multiplier:
            raise ValueError("noise_multiplier needs max_norm: it is in units of it")
        if self.delta is not None and not self.noise_multiplier:
            raise ValueError("delta needs noise_multiplier: no epsilon without noise")
        return self

    @property
    def demands(self) -> Demands:
        if self.max_norm is None:
            return PLAIN
        if self.delta is None:
            return Demands(hides_losses=True)
        lacks = "" if is_there() else LACKS
        return Demands(hides_losses=True, spent=self.epsilon, lacks=lacks)

    def epsilon(self, num_samples: int, size: int, num_steps: int) -> float:
        """Return the epsilon that a client has spent after these steps."""
        assert self.delta is not None
        rate = rate_of(num_samples, size)
        return epsilon(rate, self.noise_multiplier, num_steps, self.delta)

    def train(self, cohort: Cohort) -> None:
        if self.max_norm is None:
            descend(cohort)
            return
        for step in cohort.steps(poisson):
            gradients = step.clipped_sum(self.max_norm)
            if self.noise_multiplier:
                std = self.noise_multiplier * self.max_norm
                gradients.add_(step.noise(), alpha=std)
            step.descend(gradients.div_(step.sizes))


def poisson(samples: Samples, size: int, rng: np.random.Generator) -> Iterator[Samples]:
    """Yield samples of which each is in with the same probability, independently, so
    that ``size`` are expected; all, where there are no more."""
    rate = rate_of(len(samples), size)
    while True:
        yield samples[rng.random(len(samples)) < rate]


def rate_of(num_samples: int, size: int) -> float:
    """Return the probability with which a step takes a sample."""
    return min(1.0, size / num_samples)

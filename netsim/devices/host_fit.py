"""The law of a host's steps: fitted to half of the settings, judged on the others.

All precisions share one law, since they share the program, the memory and the products
of 32-bit numbers; terms of their own are what 16-bit products add.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl.contract import Work
from netsim.core.streams import stream
from netsim.devices.fitting import COVERAGE

Floats = NDArray[np.float64]
LEAST_FLOP_S = 1e-18  # of one FLOP: no device is faster


class HostLaw(NamedTuple):
    """Seconds of a step, an operation, a block of 16-bit attention, a FLOP, one of
    16-bit products, a byte of products, one of others and one of large results; at
    least zero."""

    step_s: float
    operation_s: float
    block_s: float
    flop_s: float
    half_flop_s: float
    product_byte_s: float
    other_byte_s: float
    large_byte_s: float

    def seconds(self, work: Work) -> float:
        """Return the time of some work."""
        return float(_row(work) @ np.array(self))

    @property
    def peak_flop_per_s(self) -> float:
        """Return the rate of products that give 32-bit numbers."""
        return 1 / max(self.flop_s, LEAST_FLOP_S)

    @property
    def half_rate_flop_per_s(self) -> float | None:
        """Return the rate of products that give 16-bit numbers; None if not known."""
        return 1 / self.half_flop_s if self.half_flop_s else None

    @property
    def bandwidths_bytes_per_s(self) -> list[float | None]:
        """Return those of products, of other operations and of large results; None for
        no time."""
        found = (self.product_byte_s, self.other_byte_s, self.large_byte_s)
        return [1 / seconds if seconds > 0 else None for seconds in found]


class Judged(NamedTuple):
    """A law fitted to all settings; of each setting that was left out its precision,
    the time that the law of the other half predicts, and the factors by which that law
    and its single rate err."""

    law: HostLaw
    left_out: tuple[int, ...]
    precisions: tuple[str, ...]
    predicted_s: tuple[float, ...]
    errors: tuple[float, ...]
    one_rate_errors: tuple[float, ...]

    @property
    def doubt(self) -> float:
        """Return the factor within which the stated share of errors lies."""
        rank = math.ceil(COVERAGE * len(self.errors))
        return sorted(self.errors)[rank - 1]


def judged(
    works: Sequence[Work],
    seconds: Sequence[float],
    *,
    precisions: Sequence[str],
    is_unseen: Sequence[bool],
) -> Judged:
    """Return the law of some settings and its errors on the half of each precision that
    it was not fitted to, which has all that ``is_unseen``."""
    halves = {
        precision: _half(precisions, precision, is_unseen)
        for precision in dict.fromkeys(precisions)
    }
    chosen = [n for half in halves.values() for n in half]
    others = tuple(n for n in range(len(works)) if n not in set(chosen))
    law = fit_law([works[n] for n in chosen], [seconds[n] for n in chosen])
    rates = {
        precision: fmean(math.log(works[n].flop / seconds[n]) for n in half)
        for precision, half in halves.items()
    }
    return Judged(
        fit_law(works, seconds),
        others,
        tuple(precisions[n] for n in others),
        tuple(law.seconds(works[n]) for n in others),
        tuple(_factor(law.seconds(works[n]), seconds[n]) for n in others),
        tuple(
            _factor(works[n].flop / math.exp(rates[precisions[n]]), seconds[n])
            for n in others
        ),
    )


def _half(
    precisions: Sequence[str], precision: str, is_unseen: Sequence[bool]
) -> list[int]:
    """Return the settings of a precision that the law is fitted to."""
    own = [n for n, one in enumerate(precisions) if one == precision]
    order = stream(0, "host fit").permutation(len(own)).tolist()
    return [n for k in order[: len(own) // 2] if not is_unseen[n := own[k]]]


def fit_law(works: Sequence[Work], seconds: Sequence[float]) -> HostLaw:
    """Return the least squares of relative errors over terms of at least zero: the best
    of all choices of terms whose own least squares has none below zero."""
    relative = np.array([_row(work) for work in works]) / np.array(seconds)[:, None]
    scale = np.maximum(relative.max(axis=0), np.finfo(float).tiny)
    terms = relative / scale
    used = [n for n in range(terms.shape[1]) if relative[:, n].any()]
    best, found = math.inf, np.zeros(terms.shape[1])
    for size in range(1, len(used) + 1):
        for some in map(list, combinations(used, size)):
            values, *_ = np.linalg.lstsq(terms[:, some], np.ones(len(terms)))
            error = float(((terms[:, some] @ values - 1) ** 2).sum())
            if (values >= 0).all() and error < best:
                best, found = error, np.zeros(terms.shape[1])
                found[some] = values
    return HostLaw(*(found / scale).tolist())


def _row(work: Work) -> Floats:
    flop = work.flop - work.half_flop
    return np.array(
        [
            *(work.steps, work.operations, work.blocks, flop, work.half_flop),
            *(work.product_bytes, work.other_bytes, work.large_bytes),
        ],
        dtype=np.float64,
    )


def _factor(predicted_s: float, observed_s: float) -> float:
    ratio = predicted_s / observed_s
    return max(ratio, 1 / ratio)

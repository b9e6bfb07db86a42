"""When a run will reach its target, from how it has come so far.

What a score lacks to a perfect one is taken to fall as ``exp(c - b sqrt(P))`` with the
progress ``P``, in rounds of full participation: an empirical law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from fl.contract import SHARES

LEAST_SCORES: Final = 8


class Forecast(NamedTuple):
    """The progress at which a level is reached, and its standard error."""

    progress: float
    error: float


def missing(metric: str, value: float) -> float:
    """Return what a value lacks to a perfect score: one less a share of right answers,
    a loss itself, the logarithm of a perplexity."""
    if metric in SHARES:
        return 1 - value
    return math.log(value) if metric == "perplexity" else value


def forecast(
    progress: Sequence[float], lacks: Sequence[float], wanted: float
) -> Forecast | None:
    """Return when what lacks falls to ``wanted``, by least squares of its logarithm
    over the root of progress; None where that does not follow: too few scores, a
    perfect one, or no fall."""
    x, lack = np.sqrt(progress), np.asarray(lacks, dtype=float)
    if len(x) < LEAST_SCORES or not (wanted > 0 and (lack > 0).all()):
        return None
    y = np.log(lack)
    around = x - x.mean()
    squares = float(around @ around)
    slope = float(around @ y) / squares if squares > 0 else 0.0
    if not slope < 0:
        return None
    away = float((math.log(wanted) - y.mean()) / slope)
    root = float(x.mean()) + away
    if not root > 0:
        return None
    rest = y - y.mean() - slope * around
    spread = float(rest @ rest / (len(x) - 2)) ** 0.5 / -slope
    error = spread * (1 / len(x) + away**2 / squares) ** 0.5
    return Forecast(root**2, 2 * root * error)

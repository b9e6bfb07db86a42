"""What pilot rounds tell of a plan's constants: norms, rounds to a level, exponents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netsim.errors import InputError
from netsim.policy.sampler import FloatArray
from netsim.policy.surrogate import (
    Exponent,
    Norms,
    Surrogate,
    fit_nu,
    fit_rounds,
    shrunken_norms2,
    variance_terms,
)

NUM_PASSES: Final = 4  # of alpha, beta and nu, each given the others
NUM_SWEEPS: Final = 50  # of clients and rounds, each given the other
NORMAL_MEDIAN: Final = 1.4826  # standard deviations per median of absolute values
NAN: Final = float("nan")


class Update(NamedTuple):
    """The squared norm of one client's change in a round, trained at full rank over the
    ratio."""

    client_id: int
    rank_ratio: float
    norm2: float
    round_id: int = 0


class Measured(NamedTuple):
    """What clients' changes tell: how they grow with ``r / k``, the exponent by which
    they were brought to full rank, and their norms there."""

    exponent: Exponent
    scale: float
    norms2: Norms


class MeasureNorms(Protocol):
    """Measures clients' norms by their changes."""

    def __call__(
        self,
        updates: Sequence[Update],
        num_clients: int,
        *,
        otherwise: float,
        has_trend: bool = False,
    ) -> Measured:
        """Return what the changes tell; see :func:`measured`."""


class Crossing(NamedTuple):
    """After how many rounds a smoothed loss reaches a level, and the standard error."""

    rounds: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A pilot's losses, each after a number of its rounds; the first is the start's."""

    rounds: tuple[int, ...]
    losses: tuple[float, ...]

    def smoothed(self) -> FloatArray:
        """Return means of three neighbours; the two ends are as they were.

        No mean is beyond its three, as rounding could have it: a loss that stays is
        not below itself.
        """
        raw = np.array(self.losses)
        smooth = raw.copy()
        three = np.stack([raw[:-2], raw[1:-1], raw[2:]])
        smooth[1:-1] = np.clip(
            three.sum(axis=0) / 3, three.min(axis=0), three.max(axis=0)
        )
        return smooth

    @property
    def lowest(self) -> float:
        """Return the least smoothed loss after the start."""
        return float(np.min(self.smoothed()[1:], initial=np.inf))

    def crossing(self, level: float) -> Crossing | None:
        """Return when the smoothed loss first reaches ``level``, by interpolation."""
        smooth, rounds = self.smoothed(), np.array(self.rounds, dtype=float)
        below = np.flatnonzero(smooth[1:] <= level)
        if not len(below):
            return None
        end = int(below[0]) + 1
        part = (smooth[end - 1] - level) / (smooth[end - 1] - smooth[end])
        found = rounds[end - 1] + part * (rounds[end] - rounds[end - 1])
        first, last = max(end - 2, 0), min(end + 1, len(smooth) - 1)
        slope = (smooth[first] - smooth[last]) / (rounds[last] - rounds[first])
        if not slope > 0:
            slope = (smooth[end - 1] - smooth[end]) / (rounds[end] - rounds[end - 1])
        return Crossing(float(found), self._noise() * end**0.5 / float(slope))

    def _noise(self) -> float:
        """Return the standard deviation of one step of the loss, as if the noise of
        steps added up: too much where the descent contracts.

        By second differences, so that a trend does not count, and by their median, so
        that the steep first steps do not.
        """
        bends = np.abs(np.diff(self.losses, 2))
        return float(np.median(bends)) * NORMAL_MEDIAN / 2**0.5 if len(bends) else NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One pilot: the clients' probabilities and ``r / k``, and what came of it."""

    probabilities: FloatArray
    rank_ratio: FloatArray
    curve: Curve
    updates: tuple[Update, ...]
    is_sketched: bool  # below the highest rank that clients could have


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Every constant of a plan; a trial that did not reach the level has no crossing.

    ``deepest_ratio`` is the greatest ``r / k`` of the sketches that reached it: nothing
    is known of deeper ones, and minimising a sketched loss has a floor.
    """

    norms2: Norms
    norm_exponent: Exponent
    surrogate: Surrogate
    nu_error: float
    level: float
    crossings: tuple[Crossing | None, ...]
    variances: tuple[float, ...]
    deepest_ratio: float


def common_level(trials: Sequence[Trial], target: float | None = None) -> float:
    """Return the lowest loss that all trials reach, or ``target`` where that is higher.

    A sketched trial counts if it came half as far as the others together; else the
    level may be below what its sketch can reach at all.
    """
    full = [trial.curve for trial in trials if not trial.is_sketched]
    start = full[0].losses[0]
    level = max(curve.lowest for curve in full)
    if not level < start:
        worst = max(range(len(full)), key=lambda n: full[n].lowest)
        raise InputError(
            f"policy.pilots: of those at full rank, the one at place {worst + 1} did "
            f"not get below the first loss {start:.4g} in {full[worst].rounds[-1]} "
            "rounds; give it more rounds, a higher probability or a smaller step"
        )
    lows = [trial.curve.lowest for trial in trials if trial.is_sketched]
    reached = [low for low in lows if low <= (start + level) / 2]
    level = max([level, *reached])
    return level if target is None or not target < start else max(level, target)


def norm_exponent(updates: Iterable[Update]) -> Exponent:
    """Return the ``nu`` with which squared norms grow as ``(r / k)^nu``, from clients
    that were seen both whole and sketched; NaN if there are none."""
    sums: dict[tuple[int, float], list[float]] = {}
    for update in updates:
        sums.setdefault(update[:2], []).append(update.norm2)
    x, y, count = [], [], []
    for (client_id, ratio), found in sums.items():
        whole = sums.get((client_id, 1.0))
        if ratio > 1 and whole and min(np.mean(whole), np.mean(found)) > 0:
            x.append(np.log(ratio))
            y.append(np.log(np.mean(found) / np.mean(whole)))
            count.append(len(found))
    if not x:
        return Exponent(NAN, NAN)
    x_, y_, weight = np.array(x), np.array(y), np.array(count, dtype=float)
    squares = float(weight @ x_**2)
    nu = float(weight @ (x_ * y_)) / squares
    if len(x) < 2:
        return Exponent(nu, NAN)
    spread2 = float(weight @ (y_ - nu * x_) ** 2) / (len(x) - 1)
    return Exponent(nu, (spread2 / squares) ** 0.5)


def client_norms2(
    updates: Sequence[Update], num_clients: int, exponent: float
) -> Norms:
    """Return ``G_n^2``, sketched updates divided by ``(r / k)^exponent``."""
    return shrunken_norms2(
        [update.client_id for update in updates],
        [update.norm2 / update.rank_ratio**exponent for update in updates],
        num_clients,
    )


def measured(
    updates: Sequence[Update],
    num_clients: int,
    *,
    otherwise: float,
    has_trend: bool = False,
) -> Measured:
    """Return the exponent and the norms that changes tell, ``otherwise`` where they
    tell no exponent; ``has_trend`` takes out what a round's changes have in common."""
    exponent = norm_exponent(updates)
    scale = otherwise if np.isnan(exponent.nu) else exponent.nu
    seen = without_trend(updates, scale) if has_trend else updates
    return Measured(exponent, scale, client_norms2(seen, num_clients, scale))


def study_trials(
    trials: Sequence[Trial],
    data_weights: FloatArray,
    top_ratio: FloatArray,
    *,
    nu: float | None = None,
    target: float | None = None,
    measure: MeasureNorms = measured,
) -> Findings:
    """Return what pilots tell; ``nu`` is given where no pilot is to tell it, and
    ``top_ratio`` is the least ``r / k`` of each client."""
    updates = [update for trial in trials for update in trial.updates]
    assumed = nu if nu is not None else 1.0
    exponent, scale, norms2 = measure(updates, len(data_weights), otherwise=assumed)
    level = common_level(trials, target)
    crossings = tuple(trial.curve.crossing(level) for trial in trials)
    law = _Law(trials, crossings, data_weights, norms2.values, top_ratio)
    surrogate, nu_error = law.fitted(nu, scale)
    return Findings(
        norms2=norms2,
        norm_exponent=exponent,
        surrogate=surrogate,
        nu_error=nu_error,
        level=level,
        crossings=crossings,
        variances=tuple(law.variance(trial, surrogate.nu) for trial in trials),
        deepest_ratio=_deepest_ratio(trials, crossings),
    )


def _deepest_ratio(
    trials: Sequence[Trial], crossings: Sequence[Crossing | None]
) -> float:
    """Return the greatest ``r / k`` that reached the level, without bound where no
    trial was sketched."""
    reached = [
        float(trial.rank_ratio.min())
        for trial, crossing in zip(trials, crossings, strict=True)
        if trial.is_sketched and crossing is not None
    ]
    is_tried = any(trial.is_sketched for trial in trials)
    return max(reached, default=1.0 if is_tried else np.inf)


@dataclass(frozen=True, slots=True)
class _Law:
    """Rounds over variance, as the trials show it."""

    trials: Sequence[Trial]
    crossings: Sequence[Crossing | None]
    data_weights: FloatArray
    norms2: FloatArray
    top_ratio: FloatArray

    def fitted(self, given: float | None, scale: float) -> tuple[Surrogate, float]:
        """Return the law, and the error of its nu where that is not given; alpha and
        beta are fitted given nu and nu given them, in turn."""
        if given is not None:
            return self.rounds(given), NAN
        surrogate, error = self.rounds(1.0), NAN
        for _ in range(NUM_PASSES):
            nu, error = self.nu(surrogate, otherwise=scale)
            surrogate = self.rounds(nu)
        return surrogate, error

    def variance(self, trial: Trial, nu: float) -> float:
        return float(self._terms(trial) @ trial.rank_ratio**nu)

    def rounds(self, nu: float) -> Surrogate:
        found = [
            (self.variance(trial, nu), crossing)
            for trial, crossing in zip(self.trials, self.crossings, strict=True)
            if not trial.is_sketched and crossing is not None
        ]
        terms = variance_terms(
            self.data_weights, self.norms2, np.ones(len(self.data_weights))
        )
        return fit_rounds(
            [variance for variance, _ in found],
            [crossing.rounds for _, crossing in found],
            errors=[crossing.error for _, crossing in found],
            nu=nu,
            least_variance=float(terms @ self.top_ratio**nu),
        )

    def nu(self, surrogate: Surrogate, *, otherwise: float) -> Exponent:
        """Return the mean over sketched trials; what the norms say where none is."""
        if not surrogate.alpha > 0:
            return Exponent(otherwise, NAN)
        found = [
            fit_nu(surrogate, self._terms(trial), trial.rank_ratio, *crossing)
            for trial, crossing in zip(self.trials, self.crossings, strict=True)
            if trial.is_sketched and crossing is not None
        ]
        if not found:
            return Exponent(otherwise, NAN)
        errors = np.array([one.error for one in found])
        mean = float(np.mean([one.nu for one in found]))
        return Exponent(mean, float(np.sum(errors**2) ** 0.5) / len(found))

    def _terms(self, trial: Trial) -> FloatArray:
        return variance_terms(self.data_weights, self.norms2, trial.probabilities)


def without_trend(updates: Sequence[Update], exponent: float) -> list[Update]:
    """Return the updates without what their rounds have in common, as changes shrink
    while learning goes on: each squared norm divided by its round's factor.

    ``norm2 = (r / k)^exponent G_n^2 s_t`` is fitted in logarithms, client and round in
    turn (two-way analysis of variance); a client seen in one round alone tells nothing
    of that round.
    """
    seen = [update for update in updates if update.norm2 > 0]
    if not seen:
        return list(updates)
    clients = np.unique([one.client_id for one in seen], return_inverse=True)[1]
    rounds, places = np.unique([one.round_id for one in seen], return_inverse=True)
    levels = np.log([one.norm2 / one.rank_ratio**exponent for one in seen])
    trend, own = np.zeros(len(rounds)), np.full(clients.max() + 1, levels.mean())
    for _ in range(NUM_SWEEPS):
        trend = _means(places, levels - own[clients])
        trend -= trend[places].mean()
        own = _means(clients, levels - trend[places])
    factors = dict(zip(rounds.tolist(), np.exp(trend).tolist(), strict=True))
    return [
        one._replace(norm2=one.norm2 / factors.get(one.round_id, 1.0))
        for one in updates
    ]


def _means(groups: NDArray[np.intp], values: FloatArray) -> FloatArray:
    """Return the mean of each group's values."""
    return np.asarray(np.bincount(groups, values) / np.bincount(groups))


def same_scale(norms2: FloatArray, like: FloatArray, weights: FloatArray) -> FloatArray:
    """Return norms times a factor with which ``sum a_n^2 G_n^2`` is that of ``like``:
    updates shrink as learning goes on, the constants belong to the pilots' scale."""
    moment = float(weights**2 @ norms2)
    return norms2 * (float(weights**2 @ like) / moment) if moment > 0 else like

"""What an adaptive policy plans from, how rounds renew it, and what it notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from netsim.core.clock import to_s
from netsim.errors import InputError
from netsim.policy.noise_scale import step_factor
from netsim.policy.pilots import (
    Findings,
    Update,
    same_scale,
)
from netsim.policy.planner import Decision, Planner
from netsim.policy.sampler import FloatArray
from netsim.policy.surrogate import FULL_ROUNDS, Surrogate
from netsim.server.policies.observed import Observed
from netsim.server.policies.piloting import Notebook, Piloted
from netsim.server.stage import Stage


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan is made from; ``level`` is the loss that its rounds lead to."""

    planner: Planner
    norms2: FloatArray
    surrogate: Surrogate
    updates: tuple[Update, ...]
    level: float | None


def assumed_law(data_weights: FloatArray, ratio: float, nu: float) -> Surrogate:
    """Return the law of a ratio with every ``G_n`` one: 100 rounds at full
    participation."""
    full = float(np.sum(data_weights**2))
    if not ratio > -full:
        raise InputError(
            f"policy.constants.ratio must exceed {-full:.4g}, or full "
            f"participation would take no rounds; got {ratio!r}"
        )
    alpha = FULL_ROUNDS / (ratio + full)
    return Surrogate(alpha=alpha, beta=alpha * ratio, nu=nu)


def with_norms(stage: Stage, basis: Basis, updates: Sequence[Update]) -> Basis:
    """Return the basis with norms from all changes so far, early and late ones on one
    scale, the one it had."""
    if not updates:
        return basis
    weights = basis.planner.problem.data_weights.astype(float)
    norms2 = stage.measuring.norms(
        updates, len(weights), otherwise=basis.surrogate.nu, has_trend=True
    ).norms2
    Notebook(stage).write_clients("norm2", norms2.values, norms2.errors)
    return replace(basis, norms2=same_scale(norms2.values, basis.norms2, weights))


def with_ratio(stage: Stage, basis: Basis, seen: Observed) -> tuple[Basis, bool]:
    """Return the basis with the ratio that the rounds show, and whether its error is
    below it."""
    found = stage.measuring.ratio(seen.moments, seen.data_weights)
    Notebook(stage).write("ratio", found.value, found.error)
    stage.constants["ratio"] = found.value
    law = assumed_law(seen.data_weights, found.value, basis.surrogate.nu)
    return replace(basis, surrogate=law), found.is_certain


def with_exponent(
    stage: Stage, planner: Planner, basis: Basis, seen: Observed
) -> Basis:
    """Return the basis with the exponent that rounds of mixed ranks show, and with no
    deeper sketch than they tried; with the highest ranks where it may be one."""
    found = stage.measuring.rank_exponent(seen.updates)
    if np.isnan(found.error):
        return basis
    Notebook(stage).write("nu", found.nu, found.error)
    stage.constants["nu"] = found.nu
    if abs(found.nu - 1) <= found.error:
        return replace(basis, planner=planner.at_top_ranks())
    deepest = max(update.rank_ratio for update in seen.updates)
    law = replace(basis.surrogate, nu=found.nu)
    return replace(basis, planner=planner.up_to(deepest), surrogate=law)


def noted_step(
    stage: Stage, basis: Basis, decision: Decision, tuned_at: float
) -> float:
    """Return the factor on the server's step under a plan, where the learning rate was
    chosen at one probability for all, and write it down."""
    problem = basis.planner.problem
    ratios = problem.global_rank / np.array(decision.ranks, dtype=float)
    terms = problem.data_weights**2 * basis.norms2 * ratios**basis.surrogate.nu
    tuned = float(np.sum(terms / np.maximum(tuned_at, problem.floors)))
    factor = step_factor(basis.surrogate, decision.variance, tuned)
    Notebook(stage).write("step", factor)
    stage.constants["step"] = factor
    return factor


def note_findings(stage: Stage, piloted: Sequence[Piloted], found: Findings) -> None:
    """Write all that the pilots measured."""
    book, law = Notebook(stage), found.surrogate
    for pilot, crossing, variance in zip(
        piloted, found.crossings, found.variances, strict=True
    ):
        book.write("pilot_variance", variance, round_id=pilot.round_id)
        if crossing is not None:
            rounds, error = crossing
            book.write("pilot_rounds", rounds, error, round_id=pilot.round_id)
        else:
            ratio = float(pilot.trial.rank_ratio.min())
            stage.scene.mark("floor", detail=f"loss out of reach at r/k {ratio:g}")
    book.write_clients("norm2", found.norms2.values, found.norms2.errors)
    book.write("level", found.level)
    if np.isfinite(found.norm_exponent.nu):
        book.write("norm_exponent", *found.norm_exponent)
    book.write("alpha", law.alpha, law.alpha_error)
    book.write("beta", law.beta, law.beta_error)
    book.write("nu", law.nu, found.nu_error)
    stage.constants["nu"] = law.nu
    if law.alpha > 0:
        book.write("ratio", law.beta / law.alpha, law.ratio_error)
        stage.constants["ratio"] = law.beta / law.alpha


def note_decision(stage: Stage, basis: Basis, decision: Decision) -> None:
    """Write what a plan predicts; the first prediction is the run's. Rounds are those
    to the level of the pilots, and are not known without one."""
    book, round_s = Notebook(stage), decision.round_s
    book.write("plan_variance", decision.variance)
    book.write("plan_round_s", round_s.mean_s, round_s.error_s)
    found = {"round_s": round_s.mean_s, "round_error_s": round_s.error_s}
    detail = f"{float(decision.probabilities.sum()):.4g} clients expected, "
    if basis.level is None:
        detail += f"rounds of {round_s.mean_s:.4g} s predicted"
    else:
        rounds, error = decision.rounds, basis.surrogate.rounds_error(decision.variance)
        spread_s = float(np.hypot(round_s.mean_s * error, rounds * round_s.error_s))
        book.write("plan_rounds", rounds, error)
        book.write("plan_time_s", decision.total_s, spread_s)
        detail += f"{rounds:.4g} rounds of {round_s.mean_s:.4g} s predicted"
        found |= {"rounds": rounds, "time_s": decision.total_s, "loss": basis.level}
        found["time_error_s"] = spread_s
    stage.scene.mark("plan", round_id=stage.last_round_id + 1, detail=detail)
    if not stage.predicted:
        stage.predicted = {key: one for key, one in found.items() if np.isfinite(one)}


def note_forecast(
    stage: Stage, basis: Basis, decision: Decision, seen: Observed
) -> None:
    """Write when the target will be reached if the plan stays, where that follows."""
    law = basis.surrogate
    found = seen.forecast(stage.stop.target, law)
    if found is None:
        return
    speed = FULL_ROUNDS / law.rounds(decision.variance)
    left = max(found.progress - float(seen.progress(law)[-1]), 0.0)
    left_s = decision.round_s.mean_s / speed * left
    error_s = decision.round_s.mean_s / speed * found.error
    now_s = to_s(stage.scene.env.now)
    Notebook(stage).write("target_time_s", now_s + left_s, error_s)

"""What pilots tell, against laws that are known."""

from dataclasses import replace

import numpy as np
import pytest

from netsim.errors import InputError
from netsim.policy.pilots import (
    Curve,
    Trial,
    Update,
    client_norms2,
    common_level,
    norm_exponent,
    same_scale,
    study_trials,
    without_trend,
)
from netsim.policy.surrogate import variance_terms

WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])
NORMS2 = np.array([4.0, 1.0, 2.0, 1.0])
ALPHA, BETA, NU = 40.0, 6.0, 0.8


def falling(rounds_to_one, num_rounds):
    """Return losses from 2 downwards that pass 1 after that many rounds."""
    rounds = range(num_rounds + 1)
    losses = tuple(2 - number / rounds_to_one for number in rounds)
    return Curve(rounds=tuple(rounds), losses=losses)


def trial(q, *, ratio=1.0, reach=1.0, exponent=NU):
    """Return a pilot that obeys the law and runs until its loss has fallen by
    ``reach``, rounded up."""
    terms = variance_terms(WEIGHTS, NORMS2, np.full(4, q))
    rounds = BETA + ALPHA * float(terms.sum()) * ratio**NU
    updates = [Update(n, ratio, NORMS2[n] * ratio**exponent) for n in range(4)]
    return Trial(
        probabilities=np.full(4, q),
        rank_ratio=np.full(4, ratio),
        curve=falling(rounds, int(np.ceil(reach * rounds))),
        updates=tuple(updates) * 2,
        is_sketched=ratio > 1,
    )


def study(trials, **options):
    return study_trials(trials, WEIGHTS, np.ones(4), **options)


def test_a_crossing_lies_between_two_evaluations():
    curve = Curve(rounds=(0, 2, 4, 6), losses=(3.0, 2.0, 1.0, 0.0))
    assert curve.crossing(1.5) == (3.0, 0.0)
    assert curve.crossing(-0.1) is None
    assert curve.lowest == 0.0


def test_three_neighbours_are_averaged_and_ends_kept():
    curve = Curve(rounds=(0, 1, 2, 3), losses=(3.0, 0.0, 3.0, 1.0))
    assert curve.smoothed().tolist() == [3.0, 2.0, 4 / 3, 1.0]
    assert curve.crossing(1.5).rounds == pytest.approx(1.75)


@pytest.mark.parametrize("loss", [3.581338882446289, 0.1, 2.0])
@pytest.mark.parametrize("num_rounds", [1, 2, 6])
def test_a_loss_that_stays_is_not_below_itself(loss, num_rounds):
    rounds = tuple(range(num_rounds + 1))
    flat = Curve(rounds=rounds, losses=(loss,) * (num_rounds + 1))
    assert flat.smoothed().tolist() == list(flat.losses)
    assert flat.lowest == loss


def test_pilots_without_participants_are_refused():
    still = Curve(rounds=(0, 1, 2), losses=(0.1,) * 3)
    idle = [replace(trial(q), curve=still, updates=()) for q in (0.5, 1.0)]
    with pytest.raises(InputError, match="the one at place 1 did not get below"):
        common_level(idle)


def test_the_error_of_a_crossing_is_that_of_a_random_walk():
    rng, found = np.random.default_rng(2), []
    for _ in range(400):
        steps = -0.05 + rng.normal(0, 0.01, 60)
        losses = (3.0, *(3.0 + np.cumsum(steps)).tolist())
        found.append(Curve(rounds=tuple(range(61)), losses=losses).crossing(1.0))
    rounds, errors = np.array(found).T
    assert rounds.mean() == pytest.approx(40, rel=0.02)
    assert np.median(errors) == pytest.approx(rounds.std(), rel=0.3)


def test_the_law_comes_back_from_its_pilots():
    found = study([trial(1.0), trial(0.25), trial(0.5, ratio=4.0)])
    fallen = 2 - found.level
    law = found.surrogate
    assert found.level == pytest.approx(1.0, abs=0.05)  # where the last one ends
    assert law.alpha == pytest.approx(ALPHA * fallen)
    assert law.beta == pytest.approx(BETA * fallen)
    assert law.nu == pytest.approx(NU, abs=1e-6)
    assert found.norm_exponent.nu == pytest.approx(NU)
    assert found.norms2.values == pytest.approx(NORMS2)
    assert found.deepest_ratio == 4.0


def test_norms_may_follow_another_exponent_than_rounds():
    pilots = [trial(1.0), trial(0.25), trial(0.5, ratio=4.0, exponent=-0.5)]
    found = study(pilots)
    assert found.norm_exponent.nu == pytest.approx(-0.5)
    assert found.norms2.values == pytest.approx(NORMS2)
    assert found.surrogate.nu == pytest.approx(NU, abs=1e-6)


def test_a_given_nu_is_not_measured():
    found = study([trial(1.0), trial(0.25)], nu=0.3)
    assert found.surrogate.nu == 0.3
    assert found.deepest_ratio == np.inf


def test_a_sketch_that_stays_far_above_the_level_is_ruled_out():
    floored = trial(0.5, ratio=4.0, reach=0.3)
    found = study([trial(1.0), trial(0.25), floored])
    assert found.crossings[2] is None
    assert found.deepest_ratio == 1.0
    assert found.surrogate.nu == pytest.approx(NU)  # as the norms say
    near = study([trial(1.0), trial(0.25), trial(0.5, ratio=4.0, reach=0.7)])
    assert near.level == pytest.approx(1.3, abs=0.05)
    assert near.surrogate.nu == pytest.approx(NU, abs=1e-6)


def test_the_level_is_the_targets_where_pilots_went_below_it():
    pilots = [trial(1.0), trial(0.25)]
    assert common_level(pilots, 1.4) == 1.4
    assert common_level(pilots, 0.2) == pytest.approx(1.0, abs=0.05)


def test_a_pilot_that_learns_nothing_is_refused():
    flat = Curve(rounds=(0, 1, 2), losses=(2.0, 2.1, 2.2))
    stuck = Trial(
        probabilities=np.full(4, 0.5),
        rank_ratio=np.ones(4),
        curve=flat,
        updates=(),
        is_sketched=False,
    )
    with pytest.raises(InputError, match="place 2 did not get below the first loss 2"):
        common_level([trial(1.0), stuck])


def test_rounds_that_do_not_grow_leave_alpha_zero():
    quick = trial(0.25)
    slow = trial(1.0)
    found = study(
        [
            Trial(
                **{name: getattr(one, name) for name in Trial.__slots__}
                | {"curve": other.curve}
            )
            for one, other in ((quick, slow), (slow, quick))
        ]
    )
    assert found.surrogate.alpha == 0.0


def test_an_exponent_needs_clients_seen_both_ways():
    assert np.isnan(norm_exponent([Update(0, 1.0, 2.0), Update(1, 2.0, 4.0)]).nu)
    both = [Update(0, 1.0, 2.0), Update(0, 4.0, 8.0)]
    assert norm_exponent(both).nu == pytest.approx(1.0)
    rng, found = np.random.default_rng(4), []
    for _ in range(300):
        seen = [Update(n, 1.0, 1.0) for n in range(12)]
        seen += [Update(n, 4.0, 4.0 * np.exp(rng.normal(0, 0.2))) for n in range(12)]
        found.append(norm_exponent(seen))
    values, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(values.std(), rel=0.15)


def test_the_scale_of_the_pilots_is_kept():
    now = same_scale(np.array([1.0, 1.0, 4.0, 1.0]), NORMS2, WEIGHTS)
    assert WEIGHTS**2 @ now == pytest.approx(WEIGHTS**2 @ NORMS2)
    assert now[2] == pytest.approx(4 * now[0])


def test_norms_of_clients_seen_early_and_late_are_on_one_scale():
    """Changes halve every round; client 0 is seen early only, client 3 late only."""
    seen = {1: (0, 1), 2: (0, 1, 2), 3: (1, 2), 4: (1, 2, 3), 5: (2, 3)}
    updates = [
        Update(client_id, ratio, NORMS2[client_id] * ratio**NU / 2**round_id, round_id)
        for round_id, clients in seen.items()
        for client_id in clients
        for ratio in (1.0, 4.0)
    ]
    raw = client_norms2(updates, 4, NU).values
    assert raw[3] / raw[0] < 0.1  # where the truth is 0.25
    norms2 = client_norms2(without_trend(updates, NU), 4, NU).values
    assert norms2 / norms2[0] == pytest.approx(NORMS2 / NORMS2[0], rel=1e-6)

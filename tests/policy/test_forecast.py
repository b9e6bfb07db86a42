"""When a run reaches its target, against ways that obey the law."""

import numpy as np
import pytest

from netsim.policy.forecast import LEAST_SCORES, forecast, missing

PROGRESS = np.cumsum(np.linspace(0.3, 0.9, 20))
C, B = -0.5, 0.6


def lacks(noise=0.0, seed=1):
    rng = np.random.default_rng(seed)
    return np.exp(C - B * np.sqrt(PROGRESS) + noise * rng.normal(size=20))


def test_the_law_gives_its_own_end():
    found = forecast(PROGRESS, lacks(), 0.05)
    assert found.progress == pytest.approx(((C - np.log(0.05)) / B) ** 2)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_its_error_is_that_of_many_ways():
    found = [forecast(PROGRESS, lacks(0.05, seed), 0.05) for seed in range(400)]
    values, errors = np.array(found).T
    assert np.median(errors) == pytest.approx(values.std(), rel=0.2)


@pytest.mark.parametrize(
    ("way", "wanted"),
    [
        (lacks()[: LEAST_SCORES - 1], 0.05),  # too short
        (lacks(), 0.0),  # a perfect score
        (lacks()[::-1], 0.05),  # it does not fall
        (np.zeros(20), 0.05),
    ],
)
def test_nothing_is_said_where_nothing_follows(way, wanted):
    assert forecast(PROGRESS[: len(way)], way, wanted) is None


def test_what_is_missing_to_a_perfect_score():
    assert missing("accuracy", 0.75) == 0.25
    assert missing("loss", 0.75) == 0.75
    assert missing("perplexity", np.e) == pytest.approx(1)

"""A short form of the references, and that they notice a fault."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import netsim
from fl.aggregation import FedIT
from netsim.policy.sampler import Drawn
from tests.torture.independent import clock, draws, merges
from tests.torture.independent.cases import clock_case
from tests.torture.independent.given import given_of


def test_one_run_of_each_sharing_rule_has_the_reference_ticks():
    found = list(clock.rows(14))
    assert len([row for row in found if row[0] == "ticks of transfers"]) == 14
    assert [row for row in found if row[-1]] == []


def test_a_tick_or_a_bit_more_is_a_difference(tmp_path):
    run = netsim.run(clock_case(3), out=tmp_path / "run")
    given = given_of(run, clock_case(3))
    assert clock.differences(run, given) == []
    slower = {task: ticks + 1 for task, ticks in given.compute.items()}
    assert clock.differences(run, replace(given, compute=slower))
    more = {client: bits + 80_000 for client, bits in given.upload.items()}
    assert clock.differences(run, replace(given, upload=more))


def test_merges_agree_with_dense_matrices():
    assert [row for row in merges.rows(4, seed=2) if row[-1]] == []


def test_a_merge_that_is_not_exact_is_noticed(monkeypatch):
    monkeypatch.setitem(merges.AGGREGATIONS, "fedex-lora", FedIT)
    rng = np.random.default_rng(1)
    layer = merges.Layer(rng, shares_a=False, mixes_ranks=False, is_convex=True)
    assert max(merges.judge("fedex-lora", layer)) > 100 * merges.LIMIT


@pytest.fixture
def design():
    weights = np.random.default_rng(1).dirichlet(np.ones(draws.NUM_CLIENTS))
    return weights, draws.designs(weights, np.random.default_rng(2))["uniform"]


def test_weights_and_chances_that_are_off_are_noticed(design):
    weights, (sampler, moments) = design
    rng = np.random.default_rng(3)
    found = draws.standard_errors(sampler, moments, weights, rng, 2000)
    assert found <= draws.LIMIT

    def heavier(data_weights, rng):
        drawn = sampler.draw(data_weights, rng)
        return Drawn(drawn.client_ids, tuple(1.2 * one for one in drawn.weights))

    other = SimpleNamespace(draw=heavier, probabilities=sampler.probabilities)
    assert draws.standard_errors(other, moments, weights, rng, 2000) > draws.LIMIT

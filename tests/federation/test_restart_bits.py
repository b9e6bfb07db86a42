"""A restarted A is part of what a client downloads where the fold travels dense."""

import pytest

from fl.aggregation import VersionRanks
from fl.federation.traffic import Journal
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario

DENSE, RESTART, FACTORS = 64 * 64, 8 * 64, 8 * (64 + 64)  # numbers per matrix, r = 8


def traffic(aggregation):
    """Return the quickstart's traffic: six matrices of 64 x 64 at rank 8."""
    changes = ("server.sampling={kind: full}", f"learning.aggregation={aggregation}")
    scenario = read_scenario(find_scenario("quickstart"), changes)
    learner = scenario.learning.known_learner(4, scenario.seed, may_count=True)
    return learner._journal.traffic


@pytest.mark.parametrize(
    ("aggregation", "num_stacked", "numbers"),
    [
        ("full-average", 1, DENSE + RESTART),
        ("flora-stacking", 3, 3 * FACTORS),
        ("flora-stacking", 4, 4 * FACTORS),  # 4,096: as long as dense, and tells A
        ("flora-stacking", 5, DENSE + RESTART),
        ("fedex-lora", 5, DENSE),  # its pair travels with A in it
    ],
)
def test_a_dense_fold_brings_the_restarted_a(aggregation, num_stacked, numbers):
    found = traffic(aggregation).fold_bits([8 * num_stacked] * 6, 8)
    assert found == 32 * 6 * numbers


def test_a_download_of_the_full_average_counts_every_number():
    """98,304 of these 905,536 bits, the restarted A, were left out."""
    quickstart = traffic("full-average")
    journal = Journal(quickstart, "first")
    journal.note("second", "first", 0, [VersionRanks(8, 8)] * 6)
    head_bits = quickstart.bits_down((), [VersionRanks(8, 8)] * 6, 8)
    assert 32 * 6 * RESTART == 98_304
    assert journal.bits_down("second", "first", 8) == 905_536
    assert head_bits + 32 * 6 * (DENSE + RESTART) == 905_536


def test_a_truncated_client_gets_the_rows_of_its_rank():
    small = traffic("flora-stacking")
    whole_bits = small.fold_bits([80] * 6, 8)
    object.__setattr__(small, "is_truncated", True)
    assert whole_bits - small.fold_bits([80] * 6, 2) == 32 * 6 * 6 * 64

"""The shared band against SimGrid's fluid model, where SimGrid is installed."""

import pytest

from tests.benchmarks.against_simgrid import (
    Flow,
    ends_here,
    ends_in_simgrid,
    flows,
    gaps,
)
from tests.benchmarks.against_simgrid import version as simgrid_version

PYTHON = "/usr/bin/python3"
BY_HAND = [  # 12.5 MB/s in all; the second one's radio sends a fifth of that
    Flow(0, 12_500_000, None),
    Flow(5 * 10**8, 12_500_000, 2_500_000),
]


def test_two_flows_end_when_counted_by_hand():
    ends_s, _ = ends_here(BY_HAND)
    assert ends_s == [1.125, 5.5]  # 0.5 s alone, then four fifths for 0.625 s


@pytest.mark.skipif(simgrid_version(PYTHON) is None, reason="no python3-simgrid")
@pytest.mark.parametrize("given", [BY_HAND, flows(40), flows(200, seed=1)])
def test_flows_end_when_they_do_in_simgrid(given):
    ours_s, _ = ends_here(given)
    theirs_s, _ = ends_in_simgrid(given, PYTHON)
    of_ends_s, of_spans = gaps(ours_s, theirs_s, given)
    assert of_spans < 1e-6
    assert of_ends_s < 1e-6

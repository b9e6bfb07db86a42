"""A short form of the races of hosts."""

import pytest

from tests.torture.hosts import NUM_HOSTS, TURNS, has_namespaces, race

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_namespaces(), reason="needs namespaces of Linux"),
]


@pytest.mark.parametrize("kills", [False, True])
def test_one_host_at_a_time_holds_the_folder(kills):
    found = race(1, kills)
    assert found["faults"] == 0
    assert found["held"] == TURNS * (NUM_HOSTS - kills)

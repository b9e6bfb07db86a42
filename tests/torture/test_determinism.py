"""What must not matter to a run does not."""

import pytest

from tests.torture import determinism

pytestmark = pytest.mark.slow

NAME = "network-only"


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return determinism.digest_under(NAME, "nothing", tmp_path_factory.mktemp("right"))


@pytest.mark.parametrize("change", determinism.changes_of(NAME)[1:])
def test_a_run_elsewhere_has_the_same_digest(change, right, tmp_path):
    assert determinism.digest_under(NAME, change, tmp_path) == right

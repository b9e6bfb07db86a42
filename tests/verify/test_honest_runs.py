"""The audit finds nothing wrong with what the program itself writes."""

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.verify import audit
from tests.support.combinations import Combination

ONCE_ACCUSED = (49, 94, 228, 484, 672)


@pytest.mark.slow
def test_random_combinations_are_sound_and_wholly_computed_again(tmp_path):
    num_run, wrong = 0, {}
    for seed in (*range(36), *ONCE_ACCUSED):
        given = Combination(seed)
        try:
            scenario = read_scenario(find_scenario(given.base), tuple(given.overrides))
        except InputError:  # it does not go together
            assert seed not in ONCE_ACCUSED
            continue
        run_scenario(scenario, tmp_path / str(seed))
        found, num_run = audit(tmp_path / str(seed)), num_run + 1
        if any(found):
            wrong[seed] = found
    assert wrong == {}
    assert num_run > 15

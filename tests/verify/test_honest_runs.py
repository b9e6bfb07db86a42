"""The audit finds nothing wrong with what the program itself writes."""

from pathlib import Path

import pytest
import yaml

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import FOLDER, find_scenario
from netsim.errors import InputError
from netsim.verify import audit
from tests.support.combinations import Combination

ONCE_ACCUSED = yaml.safe_load((Path(__file__).parent / "once_accused.yaml").read_text())


def accusations(base, overrides, out):
    """Return what the audit of a run of these settings finds."""
    run_scenario(read_scenario(find_scenario(base), tuple(overrides)), out)
    return list(audit(out))


@pytest.mark.slow
def test_random_combinations_are_sound_and_wholly_computed_again(tmp_path):
    num_run, wrong = 0, {}
    for seed in range(36):
        given = Combination(seed)
        try:
            found = accusations(given.base, given.overrides, tmp_path / str(seed))
        except InputError:  # it does not go together
            continue
        num_run += 1
        if any(found):
            wrong[seed] = found
    assert wrong == {}
    assert num_run > 15


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ONCE_ACCUSED)))
def test_runs_that_were_once_accused_are_sound(number, tmp_path):
    given = ONCE_ACCUSED[number]
    overrides = [one.replace("FOLDER", str(FOLDER)) for one in given["set"]]
    assert not any(accusations(given["base"], overrides, tmp_path / "run"))

"""A short form of the metamorphic pairs, and a relation that does not hold."""

import copy

import pytest

from tests.torture.metamorphic import RELATIONS, OtherUnits, pairs


@pytest.mark.parametrize("name", RELATIONS)
def test_pairs_relate(name, tmp_path):
    found = list(pairs(RELATIONS[name], 2, 5, tmp_path))
    assert len(found) == 2
    assert [wrong for *_, wrong, _ in found if wrong] == []


class OneTickMore(OtherUnits):
    """A merge that takes a microsecond longer."""

    def change(self, case):
        found = copy.deepcopy(case)
        milliseconds = case["server"]["merge_time"].split()[0]
        found["server"]["merge_time"] = f"{milliseconds}001 us"
        return found


def test_a_microsecond_is_a_difference(tmp_path):
    found = list(pairs(OneTickMore, 2, 5, tmp_path))
    assert all(wrong for *_, wrong, _ in found)

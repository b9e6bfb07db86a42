"""What two scenarios say differently can be told apart as it is shown."""

from netsim.scenario.difference import Change

ALIKE = "a word that both begin with, and of which there is more than fits"


def test_long_values_are_shown_where_they_part():
    shown = str(Change(("name",), [ALIKE, "one"], [ALIKE, "two"]))
    before, after = shown.removeprefix("name: ").split(" -> ")
    assert before.endswith(", one]")
    assert after.endswith(", two]")
    assert before.startswith("...")


def test_long_values_that_part_early_are_cut_at_their_end():
    shown = str(Change(("name",), "x" * 80, "y" + "x" * 80))
    assert shown == f"name: {'x' * 57}... -> y{'x' * 56}..."


def test_a_value_within_the_length_is_shown_whole_beside_a_longer_one():
    shown = str(Change(("name",), ALIKE[:60], ALIKE))
    before, after = shown.removeprefix("name: ").split(" -> ")
    assert before == ALIKE[:60]
    assert after == "..." + ALIKE[40:]

"""Ways of clients, and shadows along them: closed forms and no order of asking."""

import itertools
import math

import numpy as np
import pytest

from netsim.channel.shadowing import ShadowedPaths
from netsim.errors import InputError
from netsim.mobility import RandomWaypoint, Recorded

S = 10**9
REGION = (-50.0, 0.0), (50.0, 200.0)


def waypoints(**changes):
    settings = {
        "region_m": REGION,
        "min_speed_m_s": 5.0,
        "max_speed_m_s": 10.0,
        "pause_s": 3.0,
        "interval_s": 1.0,
    }
    return RandomWaypoint(**(settings | changes))


def test_a_walk_stays_in_its_region_at_its_speeds_and_pauses():
    way = waypoints().paths(1, [(0.0, 100.0)], seed=1)
    places = [way.at(0, n * S // 10) for n in range(20_000)]
    assert places[0] == (0.0, 100.0)
    x_m, y_m = np.array(places).T
    assert (np.abs(x_m) <= 50).all()
    assert ((y_m >= 0) & (y_m <= 200)).all()
    steps_m = [math.dist(*pair) for pair in itertools.pairwise(places)]
    assert max(steps_m) == pytest.approx(1.0, abs=0.02)
    still = sum(not step for step in steps_m) / len(steps_m)
    assert 0.1 < still < 0.4  # pauses of 3 s between legs of about 10 s
    assert np.mean(x_m) == pytest.approx(0.0, abs=8.0)


def test_a_walk_does_not_depend_on_who_asks_for_what_first():
    ticks = [7 * S, 0, 400 * S, 12 * S, 400 * S + 1, 3 * S]
    one, other = (
        waypoints().paths(2, [(0.0, 0.0), (9.0, 9.0)], seed=1) for _ in range(2)
    )
    forwards = {(n, tick): one.at(n, tick) for n in (0, 1) for tick in sorted(ticks)}
    backwards = {(n, tick): other.at(n, tick) for tick in ticks for n in (1, 0)}
    assert forwards == backwards


def test_one_leg_is_a_straight_line_at_one_speed():
    way = waypoints(min_speed_m_s=5.0, max_speed_m_s=5.0).paths(1, [(0.0, 0.0)], 1)
    one, two, three = (np.array(way.at(0, n * S)) for n in (0, 1, 2))
    assert two - one == pytest.approx(three - two)
    assert math.dist(one, two) == pytest.approx(5.0)


def test_a_region_and_speeds_must_be_possible():
    with pytest.raises(ValueError, match="lower left and its upper right"):
        waypoints(region_m=REGION[::-1])
    with pytest.raises(ValueError, match="min_speed must not exceed max_speed"):
        waypoints(min_speed_m_s=11.0)


def recorded(tmp_path, text):
    path = tmp_path / "way.csv"
    path.write_text(text)
    return Recorded(path=str(path), interval_s=1.0)


def test_a_recorded_way_is_straight_between_rows_and_stands_at_both_ends(tmp_path):
    text = "client_id,time,x,y\n1,0,5,5\n0,10,0,0\n0,20,100,50\n"
    way = recorded(tmp_path, text).paths(2, (), seed=1)
    assert [way.at(0, n * S) for n in (0, 10, 15, 20, 99)] == [
        (0.0, 0.0),
        (0.0, 0.0),
        (50.0, 25.0),
        (100.0, 50.0),
        (100.0, 50.0),
    ]
    assert way.at(1, 50 * S) == (5.0, 5.0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no row"),
        ("0,0,1\n", "line 1: must have the values client_id,time,x,y, got 3"),
        ("0,0,1,1\n0,0,2,2\n", "line 2: the times of client 0 must increase"),
        ("zero,0,1,1\n", "client_id must be a whole number"),
        ("0,0,nan,1\n", "x and y finite"),
        ("0,-1,1,1\n", "time must be 0 s or more"),
    ],
)
def test_a_bad_file_of_places_is_named(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        recorded(tmp_path, text)


def test_a_client_without_a_row_is_named(tmp_path):
    with pytest.raises(InputError, match="no row of client 1"):
        recorded(tmp_path, "0,0,1,1\n").paths(2, (), seed=1)


def along(step):
    return 20.0 * step, 0.0


def shadows(num_clients, seed=1):
    first = np.random.default_rng(7).standard_normal(num_clients)
    return ShadowedPaths(first.tolist(), 50.0, seed=seed, cell_id=2)


def test_shadows_are_as_alike_as_gudmundson_says():
    found = shadows(20_000)
    values = np.array(
        [[found.at(n, step, along) for step in range(4)] for n in range(20_000)]
    )
    assert values.mean(axis=0) == pytest.approx([0] * 4, abs=0.03)
    assert values.std(axis=0) == pytest.approx([1] * 4, abs=0.03)
    expected = [math.exp(-20 * lag / 50) for lag in range(4)]
    assert np.corrcoef(values.T)[0] == pytest.approx(expected, abs=0.03)


def test_a_shadow_does_not_depend_on_who_asks_for_what_first():
    one, other = shadows(2), shadows(2)
    forwards = {(n, step): one.at(n, step, along) for n in (0, 1) for step in range(9)}
    asked = [(1, 8), (0, 3), (1, 2), (0, 8), (0, 0), (1, 5)]
    assert {key: other.at(*key, along) for key in asked}.items() <= forwards.items()


def test_who_stands_still_keeps_its_shadow():
    found = shadows(1)
    kept = found.at(0, 0, lambda step: (3.0, 4.0))
    assert found.at(0, 9, lambda step: (3.0, 4.0)) == kept

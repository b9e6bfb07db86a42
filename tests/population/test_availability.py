"""When clients are there: every kind against its law, and against itself."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.availability import (
    AVAILABILITIES,
    Always,
    Diurnal,
    Markov,
    Periodic,
    Presence,
    Recorded,
)
from netsim.core.clock import MAX_NS, to_ns

S = 10**9
H = 3600 * S


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("seen") / "presence.csv"
    path.write_text("client_id,start,end\n0,1,3\n1,0,0.5\n0,3,4.25\n0,9,10\n")
    return Recorded(path=str(path), lap_s=20.0)


KINDS = {
    "always": Always(),
    "periodic": Periodic(on_s=20.0, off_s=30.0),
    "markov": Markov(mean_on_s=60.0, mean_off_s=30.0),
    "diurnal": Diurnal(low=0.1, high=0.7, spread_s=20_000.0),
}


def there(availability, client_id, ticks_ns, seed=1):
    presence = Presence(availability, seed)
    return [presence.at(client_id, tick_ns)[0] for tick_ns in ticks_ns]


def test_every_kind_is_tried():
    assert {*KINDS, "trace"} == set(AVAILABILITIES)


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_long_run_clients_are_there_for_their_share_of_the_time(kind):
    """At one moment over many clients, and over time for a few of them."""
    availability = KINDS[kind]
    share = availability.share(0)
    mid_s = 4 * 86_400 + 79_200 if kind == "diurnal" else 1_000.0
    many = [there(availability, n, [to_ns(mid_s)])[0] for n in range(4000)]
    if kind != "diurnal":
        assert sum(many) / 4000 == pytest.approx(share, abs=0.025)
    span_s = 20 * 86_400 if kind == "diurnal" else 20_000
    ticks = [to_ns(span_s * (k + 0.5) / 2000) for k in range(2000)]
    seen = [sum(there(availability, n, ticks)) / 2000 for n in range(20)]
    assert sum(seen) / 20 == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("hour", [4, 10, 16, 22])
def test_a_diurnal_client_is_there_with_the_probability_of_the_hour(hour):
    curve = Diurnal(low=0.1, high=0.7)
    expected = 0.4 + 0.3 * math.cos(math.tau * (hour - 22) / 24)
    tick_ns = (3 * 24 + hour) * H
    many = [there(curve, n, [tick_ns])[0] for n in range(4000)]
    assert sum(many) / 4000 == pytest.approx(expected, abs=0.025)


def test_markov_times_are_exponential():
    spans = list(itertools.islice(KINDS["markov"].intervals(1, 0, 0), 1, 3001))
    on_s = [(end - start) / S for start, end in spans]
    off_s = [(b[0] - a[1]) / S for a, b in itertools.pairwise(spans)]
    for found, mean_s in ((on_s, 60), (off_s, 30)):
        assert sum(found) / len(found) == pytest.approx(mean_s, rel=0.07)
        longer = sum(span_s > mean_s for span_s in found) / len(found)
        assert longer == pytest.approx(math.exp(-1), abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_who_is_there_does_not_depend_on_when_one_first_asks(kind, data):
    availability = KINDS[kind]
    ticks = data.draw(st.lists(st.integers(0, 10**6 * S), min_size=1, max_size=6))
    ticks = sorted(ticks)
    together = there(availability, 3, ticks)
    assert together == [there(availability, 3, [tick])[0] for tick in ticks]
    presence = Presence(availability, 1)
    for tick_ns in ticks:
        is_there, until_ns = presence.at(3, tick_ns)
        assert until_ns > tick_ns
        if until_ns < MAX_NS:
            assert there(availability, 3, [until_ns - 1]) == [is_there]


def test_a_file_says_when_and_starts_over(recorded):
    ticks_s = [0, 1, 2, 3, 4.25, 9, 10, 20, 21, 24.25, 409.5]
    assert there(recorded, 0, [to_ns(t) for t in ticks_s]) == [
        *(False, True, True, True, False, True, False),
        *(False, True, False, True),
    ]
    assert there(recorded, 2, [0, S]) == [False, False]
    assert Presence(recorded, 1).at(2, 0) == (False, MAX_NS)
    assert recorded.share(0) == pytest.approx(4.25 / 20)
    once = recorded.model_copy(update={"lap_s": None})
    assert Presence(once, 1).at(0, 10 * S) == (False, MAX_NS)
    assert once.share(1) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n", "line 1: must be a client_id, a start and an end"),
        ("0,1,2\nx,1,2\n", "line 2: must be a client_id"),
        ("0,1,two\n", "line 1: start and end must be numbers"),
        ("0,3,2\n", "line 1: start and end must increase"),
        ("0,3,5\n0,4,6\n", "line 2: overlaps the row before of client 0"),
        ("client_id,start,end\n", "has no row: no client would ever be available"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_file_is_refused_by_line(text, message, tmp_path):
    path = tmp_path / "presence.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Recorded(path=str(path))


def test_a_lap_that_cuts_rows_off_is_refused(tmp_path):
    path = tmp_path / "presence.csv"
    path.write_text("0,1,30\n")
    with pytest.raises(ValueError, match="lap must not end before the last row, 30 s"):
        Recorded(path=str(path), lap_s=20.0)


def test_a_curve_must_not_fall_where_it_should_rise():
    with pytest.raises(ValueError, match=r"low must not exceed high \(0.2\), got 0.3"):
        Diurnal(low=0.3, high=0.2)


def test_who_is_never_there_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        Diurnal(low=0.0, high=0.0)


def test_turns_shorter_than_a_millisecond_are_refused():
    with pytest.raises(ValueError, match=r"greater than or equal to 0\.001"):
        Periodic(on_s=1e-9, off_s=1e-9)

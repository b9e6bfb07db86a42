"""Frames, connection set-up and grants, counted by hand on 12 Mbit/s."""

import pytest

from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.network.transport import Transport
from netsim.verify import verify
from tests.support.command import netsim
from tests.support.lossy import SomeLost, audit, played, seconds, sent
from tests.support.timelines import MBIT, S

FRAMED = Transport(payload_bits=8_000, header_bits=400)  # 5 % more, in whole frames


def test_headers_are_counted_in_whole_frames():
    assert FRAMED.air_bits(8_000) == 8_400
    assert FRAMED.air_bits(8_001) == 8_801
    assert FRAMED.air_bits(1) == 401
    assert FRAMED.air_bits(0) == 0
    assert Transport().air_bits(77) == 77


def test_frames_add_their_headers_to_upload_and_broadcast(tmp_path):
    recorder = played(
        tmp_path, up={"transport": FRAMED}, down={"transport": FRAMED}, uploads=(12,)
    )
    # 12.6 Mbit at 12 Mbit/s: the broadcast from 0.5 to 1.55, the upload a second later
    assert seconds(recorder) == [(0, 1.55, 2.55, 3.6, "done")]
    (task,) = recorder.tasks
    assert task.download_bits == task.upload_bits == 12.6 * MBIT
    assert audit(recorder) == []


def test_a_connection_takes_round_trips_and_a_grant_its_delay_without_band(tmp_path):
    transport = Transport(set_up_round_trips=2, round_trip_s=0.125, grant_delay_s=0.05)
    recorder = played(tmp_path, up={"transport": transport}, uploads=(12, 18))
    # both wait from 2.5 to 2.8; 6 Mbit/s each until 4.8, the other's last 6 until 5.3
    assert sent(recorder) == [(0, 2.8, 4.8, "done"), (1, 2.8, 5.3, "done")]
    assert [up for _, _, up, *_ in seconds(recorder)] == [2.5, 2.5]
    quiet, plain = recorder.tasks[0], played(tmp_path / "plain").tasks[0]
    assert quiet.transmit_energy_j == plain.transmit_energy_j
    assert quiet.idle_energy_j == pytest.approx(plain.idle_energy_j + 0.3)
    assert audit(recorder) == []


def test_a_retry_waits_for_a_grant_of_its_own_and_sets_up_no_second_time(tmp_path):
    errors = SomeLost(probability=0.0, max_retries=1, backoff_s=0.25)
    transport = Transport(
        payload_bits=8_000,
        header_bits=400,
        set_up_round_trips=1,
        round_trip_s=0.5,
        grant_delay_s=0.125,
    )
    recorder = played(
        tmp_path, up={"errors": errors, "transport": transport}, uploads=(12,)
    )
    # from 2.5: set-up and grant until 3.125, 1.05 s, 0.25 and 0.125, 1.05 s
    assert sent(recorder) == [
        (0, 3.125, 4.175, "failed"),
        (0, 4.55, 5.6, "done"),
    ]
    assert recorder.tasks[0].upload_bits == 25.2 * MBIT
    assert audit(recorder) == []


NAMED = (
    "cell.uplink.transport={payload: 1400 B, header: 60 B, set_up_round_trips: 2,"
    " round_trip: 40 ms, grant_delay: 8 ms}",
    "cell.downlink.transport={payload: 1400 B, header: 40 B}",
    "cell.uplink.errors={probability: 0.2, max_retries: 3, backoff: 30 ms}",
    "stop.rounds=4",
)


@pytest.mark.parametrize("sharing", ["processor-sharing", "equal-finish"])
def test_an_audit_recomputes_starts_and_sizes(tmp_path, sharing):
    scenario = read_scenario(
        find_scenario("network-only"), (*NAMED, f"cell.uplink.sharing={sharing}")
    )
    run_scenario(scenario, tmp_path / "run")
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    up = run.transfers[run.transfers.direction == "up"]
    assert set(up.bits) == {2_400_000 + 215 * 480}  # 300 kB in 215 frames
    assert scenario.cell.uplink.transport.delay_s == pytest.approx(0.088)
    written = tmp_path / "run" / "scenario.yaml"
    text = written.read_text()
    for term, other in (
        ("grant_delay: 8 ms", "grant_delay: 9 ms"),
        ("40 ms", "41 ms"),
        ("60 B", "61 B"),
    ):
        assert term in text
        written.write_text(text.replace(term, other))
        rules = [one.rule for one in verify(tmp_path / "run")]
        rule = "a message must have the bits" if " B" in term else "start_ns must be"
        assert any(one.startswith(rule) for one in rules)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("uplink.transport={header: 40 B}", "needs `payload` and `header`"),
        ("uplink.transport={payload: 1 kB}", "needs `payload` and `header`"),
        ("uplink.transport={round_trip: 1 s}", "needs `round_trip` together with"),
        ("uplink.transport={window: 1 kB}", "needs `round_trip` together with"),
        (
            "uplink.transport={window: 1 kB, initial_window: 2 kB, round_trip: 1 s}",
            "`initial_window` must be at most `window`",
        ),
        ("downlink.transport={window: 1 kB, round_trip: 1 s}", "a broadcast has no"),
        ("downlink.transport={grant_delay: 1 ms}", "a downlink has no grants"),
        (
            "downlink.transport={set_up_round_trips: 1, round_trip: 1 ms}",
            "a broadcast has no connection",
        ),
    ],
)
def test_a_term_that_would_do_nothing_is_refused(setting, message):
    with pytest.raises(InputError, match=message):
        read_scenario(find_scenario("network-only"), (f"cell.{setting}",))


WINDOWS = Transport(
    initial_window_bits=750_000, window_bits=4_500_000, round_trip_s=0.5
)


def test_a_plan_says_how_much_longer_windows_make_an_upload(tmp_path, capsys):
    # 0.75, 1.5, 3, 4.5 and half of 4.5 of 12 Mbit, as below: 2.25 s in place of 1
    assert WINDOWS.window_delay_s(12 * MBIT, 12e6) == pytest.approx(1.25)
    doubling = Transport(initial_window_bits=750_000, round_trip_s=0.5)
    # 5.25 Mbit in three round trips, then all of 12 Mbit/s
    assert doubling.window_delay_s(12 * MBIT, 12e6) == pytest.approx(1.0625)
    assert doubling.window_delay_s(500_000, 12e6) == pytest.approx(1 / 3 - 1 / 24)
    assert doubling.window_delay_s(12 * MBIT, 1e6) == FRAMED.window_delay_s(1, 1) == 0
    words = ("plan", "network-only", "--set", "population.num_clients=3", "--set")
    named = "cell.uplink.transport={initial_window: 15 kB, round_trip: 50 ms}"
    assert netsim(*words, named, "--out", tmp_path / "plan") == 0
    said = capsys.readouterr().out
    assert "windows are left out: an upload alone takes up to 0." in said


def test_a_window_doubles_each_round_trip_up_to_its_limit(tmp_path):
    recorder = played(tmp_path, up={"transport": WINDOWS}, uploads=(12,))
    # of 12 Mbit, by round trips of half a second: 0.75, 1.5, 3, 4.5 and half of 4.5
    assert sent(recorder) == [(0, 2.5, 4.75, "done")]
    held = [(row.start_ns / S, row.pinned_uhz) for row in up_segments(recorder)]
    # at 2 bit/s/Hz, 1.5 Mbit/s need 0.75 MHz
    mhz = [(2.5, 0.75), (3.0, 1.5), (3.5, 3.0), (4.0, 4.5)]
    assert held == [(start_s, one * 10**12) for start_s, one in mhz]
    assert audit(recorder) == []


def up_segments(recorder):
    ids = {row.transfer_id for row in recorder.transfers if row.direction == "up"}
    return [row for row in recorder.segments if row.transfer_id in ids]


def test_what_a_window_leaves_is_the_others_and_a_busy_band_hides_it(tmp_path):
    transport = WINDOWS.model_copy(update={"window_bits": None})
    recorder = played(tmp_path, up={"transport": transport}, uploads=(3, 12, 12))
    # 1.5, then 3 Mbit/s each; from 3.5 the band's 12 divided by three, 4 Mbit/s each
    # (windows allow 6): the first has sent 2.25 and ends 3/16 s later. Two go on
    # at 6 each, from 3 Mbit on: 1.5 s more
    assert sent(recorder) == [
        (0, 2.5, 3.6875, "done"),
        (1, 2.5, 5.1875, "done"),
        (2, 2.5, 5.1875, "done"),
    ]
    assert audit(recorder) == []


def test_a_constant_window_needs_no_slow_start_and_each_attempt_starts_anew(tmp_path):
    constant = Transport(window_bits=1_500_000, round_trip_s=0.25)
    recorder = played(tmp_path, up={"transport": constant}, uploads=(12,))
    assert sent(recorder) == [(0, 2.5, 4.5, "done")]  # 6 Mbit/s, half of the band
    errors = SomeLost(probability=0.0, max_retries=1, backoff_s=0.25)
    recorder = played(
        tmp_path / "lossy", up={"errors": errors, "transport": WINDOWS}, uploads=(12,)
    )
    assert sent(recorder) == [(0, 2.5, 4.75, "failed"), (0, 5.0, 7.25, "done")]


UNICAST = (
    "cell.downlink.mode=unicast",
    "cell.downlink.sharing=processor-sharing",
    "cell.downlink.transport={set_up_round_trips: 1, initial_window: 15 kB,"
    " window: 60 kB, round_trip: 40 ms}",
    "cell.uplink.transport={initial_window: 5 kB, window: 40 kB, round_trip: 40 ms}",
    "cell.uplink.errors={probability: 0.2, max_retries: 3, backoff: 30 ms}",
    "stop.rounds=2",
)


@pytest.mark.parametrize("radio", ["{kind: fixed-power}", None])
@pytest.mark.parametrize(
    "sharing", ["processor-sharing", "equal-finish", "max-min-live"]
)
def test_an_audit_recomputes_windows_and_starts_of_downloads(tmp_path, radio, sharing):
    rules = (*UNICAST, f"cell.uplink.sharing={sharing}")
    if radio is not None:
        rules += (f"cell.uplink.radio={radio}",)
    scenario = read_scenario(find_scenario("network-only"), rules)
    run_scenario(scenario, tmp_path / "run")
    assert verify(tmp_path / "run") == []
    written = tmp_path / "run" / "scenario.yaml"
    text = written.read_text()
    for term, other, rule in (
        ("initial_window: 5 kB", "initial_window: 4 kB", "a share must not exceed"),
        ("set_up_round_trips: 1", "set_up_round_trips: 2", "start_ns must be"),
    ):
        assert term in text
        written.write_text(text.replace(term, other))
        assert any(one.rule.startswith(rule) for one in verify(tmp_path / "run"))

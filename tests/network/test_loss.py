"""Latency, lost messages and outages on hand-countable timelines.

The 6 MHz bands of ``test_timeline``: 12 Mbit/s alone, 6 for each of two. Everybody is
announced to at 0.5 s, and computes for one second.
"""

import json
import math
from typing import Literal

import pytest

from netsim import load_run
from netsim.channel import OutageRadio, PerHertzRadio
from netsim.channel.latency import (
    JITTERS,
    ExponentialJitter,
    LogNormalJitter,
    UniformJitter,
    latency_ns,
    mean_latency_s,
)
from netsim.channel.packet_errors import TransmissionErrors
from netsim.cosim.plan_problem import Assumptions, build_task
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.runs.questions import bits, phases
from netsim.scenario import Record
from netsim.server import Deadline
from netsim.sharing import EqualFinish, FirstComeTdma, ProcessorSharing
from netsim.timeline import write_timeline
from netsim.trace.tables import Rows
from netsim.verify import verify
from netsim.verify.clock import check_clock
from tests.support.lossy import SomeLost, audit, audit_messages, played, seconds, sent
from tests.support.timelines import MBIT, S, patient


class Fade(Record):
    """Client 0's uplink loses nine tenths of its power from 3 s to ``back_s``."""

    kind: Literal["fade"] = "fade"
    back_s: float = 1e9

    def effective_gain(self, snr, cap=float("inf")):
        return 1.0

    def effective_radio(self, radio):
        return radio

    def gain(self, seed, direction, client_id, now_ns):
        if (direction, client_id) != ("up", 0):
            return 1.0, None
        back_ns = round(self.back_s * S)
        if now_ns < 3 * S:
            return 1.0, 3 * S
        return (0.1, back_ns) if now_ns < back_ns else (1.0, None)


# latency


def test_a_message_arrives_its_latency_after_its_last_bit(tmp_path):
    recorder = played(tmp_path, up={"latency_s": 0.2}, down={"latency_s": 0.1})
    # broadcast 0.5 to 1.5, there at 1.6; uploads from 2.6: 12 Mbit at 6, until 4.6,
    # the other's last 6 alone until 5.1: the one under way holds no band
    assert seconds(recorder) == [
        (0, 1.6, 2.6, 4.8, "done"),
        (1, 1.6, 2.6, 5.3, "done"),
    ]
    assert sent(recorder) == [(0, 2.6, 4.6, "done"), (1, 2.6, 5.1, "done")]
    there = {row.transfer_id: row.arrival_ns for row in recorder.arrivals}
    assert there == {0: 16 * S // 10, 1: 48 * S // 10, 2: 53 * S // 10}
    assert [row.end_ns for row in recorder.rounds] == [53 * S // 10 + S // 4]
    assert audit(recorder) == []


def test_the_radio_is_quiet_while_a_message_is_under_way(tmp_path):
    energies = [
        [
            (row.transmit_energy_j, row.idle_energy_j)
            for row in played(tmp_path / name, up=up, uploads=(12,)).tasks
        ]
        for name, up in (("none", {}), ("late", {"latency_s": 0.5}))
    ]
    (sending, idle), (sending_late, idle_late) = energies[0][0], energies[1][0]
    assert sending_late == sending
    assert idle_late == pytest.approx(idle + 0.5)


def test_who_is_under_way_at_the_deadline_is_late(tmp_path):
    server = Deadline(
        sampling=patient().sampling,
        deadline_s=4.9,
        announce_time_s=0.5,
        merge_time_s=0.0,
    )
    up, down = {"latency_s": 0.2}, {"latency_s": 0.1}
    recorder = played(tmp_path / "up", server=server, up=up, down=down)
    assert [task.status for task in recorder.tasks] == ["done", "late"]
    up["latency_s"] = 0.3  # there at the very tick
    recorder = played(tmp_path / "tick", server=server, up=up, down=down)
    assert seconds(recorder)[0] == (0, 1.6, 2.6, 4.9, "done")
    down = {"latency_s": 4.0}
    recorder = played(tmp_path / "down", server=server, down=down)
    assert [task.status for task in recorder.tasks] == ["late", "late"]
    assert recorder.arrivals == []
    assert audit(recorder) == []


@pytest.mark.parametrize(
    "jitter",
    [
        ExponentialJitter(mean_s=0.3),
        LogNormalJitter(mean_s=0.3, sigma=0.5),
        UniformJitter(longest_s=0.6),
    ],
    ids=lambda jitter: jitter.kind,
)
def test_a_jitter_has_its_mean_and_a_draw_of_its_own(jitter):
    assert type(jitter) is JITTERS[jitter.kind]
    draws = [(n + 0.5) / 100_000 for n in range(100_000)]
    mean_s = math.fsum(map(jitter.delay_s, draws)) / len(draws)
    assert mean_s == pytest.approx(0.3, rel=1e-3)
    assert mean_latency_s(0.1, jitter) == pytest.approx(0.4)
    names = [("up", n, 1, 0) for n in range(2000)]
    ticks = [latency_ns(0.1, jitter, 7, *name) for name in names]
    assert len(set(ticks)) == 2000
    assert min(ticks) >= S // 10
    assert ticks[5] == latency_ns(0.1, jitter, 7, *names[5])
    assert math.fsum(ticks) / 2000 / S == pytest.approx(0.4, rel=0.05)


# transmission errors


def test_a_lost_message_is_sent_again_and_its_share_is_free_at_once(tmp_path):
    errors = SomeLost(probability=0.0, max_retries=1, backoff_s=0.25)
    recorder = played(tmp_path, up={"errors": errors})
    # from 2.5: 6 each, until client 0's 12 are lost at 4.5; client 1 alone for 0.25 s,
    # and shared again for its last 3, until 5.25; then 9 alone, until 6
    assert sent(recorder) == [
        (0, 2.5, 4.5, "failed"),
        (0, 4.75, 6.0, "done"),
        (1, 2.5, 5.25, "done"),
    ]
    assert seconds(recorder)[0] == (0, 1.5, 2.5, 6.0, "done")
    first, second = recorder.tasks
    assert (first.upload_bits, second.upload_bits) == (24 * MBIT, 18 * MBIT)
    held_mhz_s = (2 * 3 + 0.5 * 3 + 0.75 * 6, 2 * 3 + 0.25 * 6 + 0.5 * 3)
    assert first.transmit_energy_j == pytest.approx(
        second.transmit_energy_j * held_mhz_s[0] / held_mhz_s[1]
    )
    assert audit(recorder) == []


def test_without_retries_left_the_participation_is_dropped(tmp_path):
    errors = SomeLost(
        probability=0.0, max_retries=2, backoff_s=0.5, backoff_factor=2.0, num_lost=9
    )
    recorder = played(tmp_path, up={"errors": errors}, uploads=(12, 1))
    assert sent(recorder)[1:] == [
        (0, 4.083333334, 5.083333334, "failed"),
        (0, 6.083333334, 7.083333334, "failed"),
        (1, 2.5, 2.666666667, "done"),
    ]
    assert [task.status for task in recorder.tasks] == ["failed", "done"]
    assert recorder.tasks[0].upload_bits == 36 * MBIT
    assert recorder.tasks[0].merged_round_id is None
    row = recorder.rounds[0]
    assert (row.num_sampled, row.num_merged, row.num_dropped) == (2, 1, 1)
    assert audit(recorder) == []


def test_who_misses_a_broadcast_is_sent_it_alone(tmp_path):
    errors = SomeLost(probability=0.0, max_retries=1)
    recorder = played(tmp_path, down={"errors": errors}, uploads=(12, 12))
    # the broadcast is there at 1.5; client 0's own is its one retry, until 2.5
    assert seconds(recorder) == [
        (0, 2.5, 3.5, 4.5, "done"),
        (1, 1.5, 2.5, 3.5, "done"),
    ]
    assert sent(recorder, "down") == [(0, 1.5, 2.5, "done")]
    assert [task.download_bits for task in recorder.tasks] == [24 * MBIT, 12 * MBIT]
    assert audit(recorder) == []


def test_who_misses_a_broadcast_waits_like_after_any_lost_attempt(tmp_path):
    errors = SomeLost(probability=0.0, max_retries=1, backoff_s=0.5)
    recorder = played(tmp_path, down={"errors": errors}, uploads=(12, 12))
    assert seconds(recorder)[0] == (0, 3.0, 4.0, 5.0, "done")
    assert sent(recorder, "down") == [(0, 2.0, 3.0, "done")]
    assert audit(recorder) == []


def test_who_misses_a_broadcast_for_good_is_dropped(tmp_path):
    for retries, end_s in ((0, 1.5), (1, 2.5)):
        errors = SomeLost(probability=0.0, max_retries=retries, num_lost=2)
        folder = tmp_path / str(retries)
        recorder = played(folder, down={"errors": errors}, uploads=(12, 12))
        task = recorder.tasks[0]
        assert (task.status, task.end_ns / S) == ("failed", end_s)
        assert task.compute_start_ns is None
        assert recorder.rounds[0].num_dropped == 1
        assert audit(recorder) == []


def test_a_message_is_sent_one_over_one_less_p_times():
    errors = TransmissionErrors(probability=0.4, max_retries=10**4)
    counts = []
    for client_id in range(20_000):
        attempt = 0
        while errors.is_lost(1, 3, "up", client_id, 1, attempt):
            attempt += 1
        counts.append(attempt + 1)
    sigma = math.sqrt(0.4) / 0.6 / math.sqrt(len(counts))
    assert errors.mean_attempts(1) == pytest.approx(1 / 0.6)
    assert sum(counts) / len(counts) == pytest.approx(1 / 0.6, abs=4 * sigma)


def test_attempts_are_limited():
    errors = TransmissionErrors(probability=0.5, max_retries=2)
    assert errors.mean_attempts(1) == 1 + 1 / 2 + 1 / 4


def test_a_message_is_as_safe_as_all_of_its_packets():
    errors = TransmissionErrors(packet_error_rate=0.1, packet_bits=1000, max_retries=0)
    assert errors.loss_probability(1000) == pytest.approx(0.1)
    assert errors.loss_probability(1001) == pytest.approx(1 - 0.9**2)
    assert errors.loss_probability(10**9) == 1
    assert errors.mean_attempts(10**9) == 1


# outage


def test_below_the_minimum_nothing_is_sent_from_that_very_tick_on(tmp_path):
    up = {"minimum_snr_db": 0.0}
    recorder = played(tmp_path, up=up, uploads=(12,), fading=Fade(back_s=4.5))
    # 6 of 12 Mbit from 2.5 to 3; SNR 0.3 until 4.5; then the other half second
    assert sent(recorder) == [(0, 2.5, 5.0, "done")]
    uploads = [row for row in recorder.segments if row.transfer_id == 1]
    assert [
        (row.start_ns / S, row.end_ns / S, row.spectral_efficiency_nbit_s_hz)
        for row in uploads
    ] == [(2.5, 3.0, 2 * S), (3.0, 4.5, 0), (4.5, 5.0, 2 * S)]
    assert audit(recorder) == []


def test_a_transfer_is_given_up_at_the_tick_of_its_timeout(tmp_path):
    up = {"minimum_snr_db": 0.0, "outage_timeout_s": 1.0}
    recorder = played(tmp_path, up=up, fading=Fade())
    # 3 Mbit each until 3, client 1 another 6 until 4, then its last 9 alone
    assert sent(recorder) == [(0, 2.5, 4.0, "outage"), (1, 2.5, 4.75, "done")]
    assert [task.status for task in recorder.tasks] == ["outage", "done"]
    assert audit(recorder) == []


@pytest.mark.parametrize(
    ("back_s", "expected"),
    [
        (4.0, (0, 2.5, 4.0, "outage")),  # back at that very tick: too late
        (3.9, (0, 2.5, 4.4, "done")),
    ],
)
def test_progress_in_time_is_no_outage(tmp_path, back_s, expected):
    up = {"minimum_snr_db": 0.0, "outage_timeout_s": 1.0}
    fading = Fade(back_s=back_s)
    recorder = played(tmp_path, up=up, uploads=(12,), fading=fading)
    assert sent(recorder) == [expected]
    assert audit(recorder) == []


def test_what_was_given_up_is_sent_again_where_there_are_retries(tmp_path):
    errors = TransmissionErrors(probability=0.0, max_retries=1, backoff_s=0.5)
    up = {"minimum_snr_db": 0.0, "outage_timeout_s": 1.0, "errors": errors}
    fading = Fade(back_s=5.0)
    recorder = played(tmp_path, up=up, uploads=(12,), fading=fading)
    assert sent(recorder) == [(0, 2.5, 4.0, "outage"), (0, 4.5, 6.0, "done")]
    assert recorder.tasks[0].status == "done"
    assert audit(recorder) == []


def test_who_waits_for_its_turn_gives_up_too(tmp_path):
    up = {"minimum_snr_db": 0.0, "outage_timeout_s": 1.0, "sharing": FirstComeTdma()}
    recorder = played(tmp_path, up=up, uploads=(60, 24), fading=Fade())
    assert sent(recorder) == [(0, 2.5, 4.0, "outage"), (1, 2.5, 6.0, "done")]
    assert audit(recorder) == []


def test_an_outage_without_end_or_timeout_is_refused(tmp_path):
    with pytest.raises(InputError, match="set an `outage_timeout`"):
        played(tmp_path, up={"minimum_snr_db": 30.0})


def test_a_broadcast_in_outage_is_lost_by_all(tmp_path):
    down = {"minimum_snr_db": 30.0, "outage_timeout_s": 0.5}
    recorder = played(tmp_path / "dropped", down=down)
    assert [(t.status, t.end_ns / S) for t in recorder.tasks] == [("outage", 1.0)] * 2
    errors = TransmissionErrors(probability=0.0, max_retries=1)
    recorder = played(tmp_path / "again", down={**down, "errors": errors})
    assert sent(recorder, "down") == [(n, 1.0, 1.5, "outage") for n in (0, 1)]
    assert audit(recorder) == []


def test_an_outage_radio_is_silent_below_its_minimum():
    radio = OutageRadio(PerHertzRadio(reference_band_hz=1e6), 2.0)
    assert radio.efficiency_nbit(2e6, 1) == round(math.log2(3) * 1e9)
    assert radio.efficiency_nbit(1.999e6, 1) == 0
    assert (radio.rate_bps(1e6, 5e5), radio.share_hz_for_rate(1e6, 1.0)) == (
        0,
        math.inf,
    )
    assert radio.share_hz_for_rate(3e6, 2e6) == 1e6


# the audit, and runs of scenarios


def forged(recorder, **changes):
    return [
        finding.rule
        for finding in audit_messages(
            **{
                "tasks": recorder.tasks,
                "transfers": recorder.transfers,
                "arrivals": recorder.arrivals,
                **changes,
            }
        )
    ]


def edited(content, index, **change):
    return [
        row._replace(**change) if n == index else row for n, row in enumerate(content)
    ]


def test_forged_arrivals_and_attempts_are_found(tmp_path):
    errors = SomeLost(probability=0.0, max_retries=1, backoff_s=0.25)
    recorder = played(tmp_path, up={"errors": errors, "latency_s": 0.5})
    transfers, arrivals = recorder.transfers, recorder.arrivals
    lost = next(n for n, row in enumerate(transfers) if row.status == "failed")
    assert forged(recorder) == []
    assert (
        forged(recorder, arrivals=[])
        == ["an upload must end when its last message is there"] * 2
    )
    later = edited(arrivals, 0, arrival_ns=arrivals[0].arrival_ns + 1)
    assert forged(recorder, arrivals=later) == [
        "an upload must end when its last message is there"
    ]
    assert "an arrival must be of one transfer that is done" in forged(
        recorder, arrivals=[*arrivals, arrivals[0]]
    )
    early = edited(arrivals, 0, arrival_ns=0)
    assert "an arrival must not come before the last bit" in forged(
        recorder, arrivals=early
    )
    assert "a transfer must be lost before the same is sent again" in forged(
        recorder, transfers=edited(transfers, lost, status="done")
    )
    assert "every attempt must be of the same bits" in forged(
        recorder, transfers=edited(transfers, lost, bits=1)
    )
    fewer = [row for n, row in enumerate(transfers) if n != lost]
    assert "transfers must carry the upload's bits" in forged(recorder, transfers=fewer)


def test_forged_losses_and_outages_are_found(tmp_path):
    up = {"minimum_snr_db": 0.0, "outage_timeout_s": 1.0}
    recorder = played(tmp_path, up=up, fading=Fade())
    first = next(n for n, row in enumerate(recorder.transfers) if row.client_id == 0)
    second = next(n for n, row in enumerate(recorder.transfers) if row.client_id == 1)

    def found(index, status):
        transfers = edited(recorder.transfers, index, status=status)
        trace = Rows(
            transfers=transfers, segments=recorder.segments, bands=recorder.bands
        )
        return [one.rule for one in check_clock(trace)]

    assert found(first, "failed") == ["work must reach the bits at end_ns"]
    assert found(second, "failed") == []  # a draw that only a replay can tell
    assert found(second, "outage") == [
        "a transfer that is not done must not reach its bits",
        "a transfer given up in an outage must end without any efficiency",
    ]


ALL = (
    "cell.uplink.latency=20 ms",
    "cell.uplink.jitter={kind: exponential, mean: 5 ms}",
    "cell.uplink.errors={probability: 0.2, max_retries: 2, backoff: 50 ms}",
    "cell.uplink.minimum_snr=0 dB",
    "cell.uplink.outage_timeout=200 ms",
    "cell.downlink.latency=10 ms",
    "cell.downlink.errors={packet_error_rate: 1e-3, max_retries: 2}",
    "cell.downlink.minimum_snr=-5 dB",
    "cell.downlink.outage_timeout=1 s",
    "stop.rounds=6",
)


def test_a_run_with_every_loss_is_sound_and_comes_again(tmp_path):
    given = read_scenario(find_scenario("network-only"), ALL)
    manifest = run_scenario(given, tmp_path / "run")
    assert verify(tmp_path / "run") == []
    assert run_scenario(given, tmp_path / "again").digest == manifest.digest
    run = load_run(tmp_path / "run")
    assert {"done", "failed", "outage"} <= set(run.transfers["status"])
    spent = phases(run.tasks).sum(axis=1)
    lasted = (run.tasks["end_ns"] - run.tasks["download_start_ns"]) / 1e9
    assert spent.to_list() == pytest.approx(lasted.to_list())
    by_direction = bits(run)
    tasks_up = int(run.tasks["upload_bits"].sum())
    assert by_direction.loc["up", ["sent_bits", "cut_bits"]].sum() == tasks_up


def test_draws_do_not_depend_on_who_else_takes_part(tmp_path):
    lossy = "cell.uplink.errors={probability: 0.4, max_retries: 9}"
    lost = []
    for share in ("0.5", "1.0"):
        sampling = f"server.sampling={{kind: independent, probability: {share}}}"
        given = read_scenario(
            find_scenario("network-only"), (lossy, sampling, "stop.rounds=3")
        )
        run_scenario(given, tmp_path / share)
        rows = load_run(tmp_path / share).transfers
        failed = rows[rows["status"] == "failed"]
        lost.append(failed.groupby(["round_id", "client_id"]).size().to_dict())
    some, everybody = lost
    assert some
    assert some.items() <= everybody.items()


def test_plans_count_on_mean_latency_and_attempts():
    def problem(*overrides):
        given = read_scenario(find_scenario("network-only"), overrides)
        return build_task(given, Assumptions()).problem

    plain, lossy = problem(), problem(*ALL[:3], "cell.downlink.latency=10 ms")
    assert lossy.fixed_s == pytest.approx(plain.fixed_s + 0.020 + 0.005 + 0.010)
    attempts = 1 + 0.2 + 0.2**2
    assert lossy.need_hz_s == pytest.approx(plain.need_hz_s * attempts)
    assert (lossy.bits == plain.bits).all()


def test_a_share_reserved_for_a_round_counts_on_the_download_s_latency(tmp_path):
    down = {"mode": "unicast", "sharing": ProcessorSharing()}
    takes = []
    for latency_s in (0.0, 0.5):
        recorder = played(
            tmp_path / str(latency_s),
            down={**down, "latency_s": latency_s},
            sharing=EqualFinish(),
        )
        ends = [row.end_ns for row in recorder.tasks]
        assert max(ends) - min(ends) < 10  # as planned, all finish together
        takes.append(ends[0])
    assert takes[1] - takes[0] == pytest.approx(S // 2, abs=10)


def test_the_timeline_shows_what_is_under_way(tmp_path):
    given = read_scenario(find_scenario("lossy-uplink"), ("stop.rounds=2",))
    run_scenario(given, tmp_path / "run")
    write_timeline(tmp_path / "run", tmp_path / "run.json")
    events = json.loads((tmp_path / "run.json").read_text())["traceEvents"]
    flights = [e for e in events if e.get("cat") == "latency"]
    run = load_run(tmp_path / "run")
    assert len(flights) == len(run.arrivals) > 4
    starts_us = sorted(float(event["ts"]) for event in flights)
    ends_ns = run.transfers.set_index("transfer_id")["end_ns"]
    sent_ns = ends_ns.loc[run.arrivals["transfer_id"]]
    assert starts_us == pytest.approx(sorted(sent_ns / 1000), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "status"), [("lossy-uplink", "failed"), ("deep-fade", "outage")]
)
def test_a_shipped_scenario_shows_its_loss(name, status, tmp_path):
    run_scenario(read_scenario(find_scenario(name)), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    assert set(run.transfers["status"]) == {"done", status}
    assert set(run.tasks["status"]) == {"done", status}
    assert run.rounds["num_dropped"].sum() == (run.tasks["status"] == status).sum()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("uplink.outage_timeout=1 s", "`outage_timeout` needs a `minimum_snr`"),
        ("uplink.errors={max_retries: 1}", "needs `probability`"),
        (
            "uplink.errors={probability: 0.1, packet_error_rate: 0.1, max_retries: 1}",
            "one of them",
        ),
        (
            "uplink.errors={probability: 0.1, packet: 500 B, max_retries: 1}",
            "goes with `packet_error_rate`",
        ),
        (
            "uplink.errors={probability: 0.1, max_retries: 99, backoff: 1 s, "
            "backoff_factor: 2}",
            "would grow beyond any run",
        ),
        ("uplink.errors={probability: 1, max_retries: 1}", "probability"),
        ("uplink.latency=-1 s", "latency"),
        ("uplink.jitter=normal", "unknown kind 'normal'"),
        (
            "uplink={band: 5 MHz, radio: {kind: fixed-power}, sharing: max-min-live, "
            "minimum_snr: 0 dB}",
            "cannot search for shares",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(override, message):
    with pytest.raises(InputError, match=message):
        read_scenario(find_scenario("network-only"), (f"cell.{override}",))

"""Servers that do not wait, clients that leave, batteries that end: by hand.

The band is that of ``test_timeline``: 12 Mbit/s alone, 6 for each of two, 4 for each of
three. Boards compute at 10 W, wait at 1 W and send at 10^-0.7 / 0.35 W on top.
"""

import pytest

from netsim.availability import Periodic, Recorded
from netsim.cosim.checks.scenario import contradictions
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.devices.battery import Battery
from netsim.errors import InputError
from netsim.policy import FullParticipation
from netsim.server import Asynchronous, Buffered, Deadline, Stop, Synchronous
from netsim.server.outages import Outage, spans
from netsim.server.staleness import ConstantStaleness, HingeStaleness
from netsim.sharing import EqualFixed, FirstComeTdma
from netsim.trace.rows import Client
from netsim.verify.clock import check_clock
from netsim.verify.consistency import check_consistency
from netsim.verify.trace import Trace
from tests.support.command import netsim
from tests.support.timelines import MBIT, S, patient, play_out, scenario, times

WHOLE_BAND_W = 6 * 10**-0.7 / 0.35  # 6 MHz at 23 dBm per reference band of 1 MHz
EVERYBODY = FullParticipation()


def presence(folder, text, **changes):
    path = folder / f"presence-{len(list(folder.iterdir()))}.csv"  # read once each
    path.write_text(text)
    return Recorded(path=str(path), **changes)


def played(server, folder, *, num_clients=3, download=0, **changes):
    """Play uploads of 20, 17 and 6 Mbit after 1, 2 and 2 s of computing, and audit."""
    trace = play_out(
        scenario(server, num_clients, **changes),
        folder / "trace",
        uploads=(20 * MBIT, 17 * MBIT, 6 * MBIT)[:num_clients],
        flops=(10**9, 2 * 10**9, 2 * 10**9)[:num_clients],
        download=download,
    )
    assert audit(trace) == []
    return trace


def played_by_two(server, folder, *, rounds, **changes):
    """Play uploads of 12 Mbit each after 1 and 3 s of computing, and audit."""
    config = scenario(server, 2, rounds=rounds, mode="unicast", **changes)
    trace = play_out(
        config,
        folder / "trace",
        uploads=(12 * MBIT, 12 * MBIT),
        flops=(10**9, 3 * 10**9),
    )
    assert audit(trace) == []
    return trace


def audit(trace):
    who = sorted({task.client_id for task in trace.tasks})
    tables = ("plans", "rounds", "tasks", "transfers", "segments", "bands", "evals")
    whole = Trace(
        **{name: getattr(trace, name) for name in tables},
        clients=[Client(n, 0, "board", 0.0, 0.0, 0.0, True, 0.0, 1, 0.5) for n in who],
        events=trace.events,
        sim_time_ns=trace.rounds[-1].end_ns,
    )
    return [*check_consistency(whole), *check_clock(whole)]


def ends(trace):
    return {task.client_id: (task.end_ns, task.status) for task in trace.tasks}


def merges(trace):
    return [
        (t.client_id, t.round_id, t.end_ns, t.merged_round_id, t.staleness, t.status)
        for t in trace.tasks
    ]


def rounds(trace):
    return [
        (r.start_ns, r.end_ns, r.num_sampled, r.num_merged, r.num_dropped)
        for r in trace.rounds
    ]


def bare(kind=Synchronous, **changes):
    defaults = {"sampling": EVERYBODY, "announce_time_s": 0.0, "merge_time_s": 0.0}
    return kind(**(defaults | changes))


@pytest.mark.parametrize(("leaves_s", "upload_start_ns"), [(4, 7 * S // 2), (3, None)])
def test_who_leaves_is_cut_at_that_tick_and_its_share_is_free(
    leaves_s, upload_start_ns, tmp_path
):
    seen = presence(tmp_path, f"0,0,99\n1,0,{leaves_s}\n2,0,99\n")
    trace = played(
        patient(), tmp_path, population={"availability": seen}, download=12 * MBIT
    )
    gone = next(task for task in trace.tasks if task.client_id == 1)
    assert times(gone)[3:] == (upload_start_ns, leaves_s * S, "left")
    assert gone.idle_energy_j == pytest.approx(1.0)  # the broadcast; then it sends
    assert gone.compute_energy_j == pytest.approx(10 * min(2, leaves_s - 1.5))
    # client 0 has sent 12 Mbit by 3.5 s; then it shares with 2, or until 4 s with both
    if leaves_s == 4:
        expected = {2: (4_666_666_667, "done"), 0: (4_833_333_334, "done")}
    else:
        expected = {2: (9 * S // 2, "done"), 0: (14 * S // 3 + 1, "done")}
    assert {n: end for n, end in ends(trace).items() if n != 1} == expected
    assert trace.rounds[0].end_ns == expected[0][0] + S // 4
    assert rounds(trace)[0][2:] == (3, 2, 1)


def test_who_leaves_during_the_broadcast_is_cut_and_it_goes_on(tmp_path):
    seen = presence(tmp_path, "0,0,99\n1,0,1\n2,0,99\n")
    trace = played(
        patient(), tmp_path, population={"availability": seen}, download=12 * MBIT
    )
    assert times(trace.tasks[1]) == (1, S // 2, None, None, S, "left")
    assert trace.tasks[1].idle_energy_j == pytest.approx(0.5)
    first = trace.transfers[0]
    assert (first.end_ns, first.status) == (3 * S // 2, "done")
    assert trace.tasks[0].compute_start_ns == 3 * S // 2


def test_who_ends_at_the_tick_at_which_it_leaves_is_in_time(tmp_path):
    seen = presence(tmp_path, "0,0,99\n1,0,99\n2,0,4.5\n")
    server = bare()
    trace = played(server, tmp_path, population={"availability": seen})
    # client 2 sends from 2 s on, at 4 Mbit/s beside the two others: until 3.5 s
    assert ends(trace)[2] == (7 * S // 2, "done")
    seen = presence(tmp_path, "0,0,99\n1,0,99\n2,0,3.5\n")
    trace = played(server, tmp_path / "again", population={"availability": seen})
    assert ends(trace)[2] == (7 * S // 2, "done")
    assert trace.tasks[2].idle_energy_j == 0.0  # gone, it waits no more


def test_who_is_away_when_drawn_takes_no_part(tmp_path):
    seen = presence(tmp_path, "0,0,99\n1,1,99\n2,0,99\n")
    trace = played(patient(), tmp_path, population={"availability": seen})
    assert [task.client_id for task in trace.tasks] == [0, 2]
    assert [(e.kind, e.detail) for e in trace.events] == [
        ("away or busy", "1 of 3 drawn"),
        ("stop", "rounds"),
    ]


def test_weights_are_over_the_part_of_the_time_that_one_is_there(tmp_path):
    seen = presence(tmp_path, "0,0,50\n1,0,100\n2,0,25\n2,30,55\n")
    server = patient(corrects_presence=True)
    trace = played(server, tmp_path, population={"availability": seen})
    assert [t.weight for t in trace.tasks] == pytest.approx([2 / 3, 1 / 3, 2 / 3])


def test_rounds_wait_for_a_client_and_end_when_none_returns(tmp_path):
    seen = presence(tmp_path, "0,10,15\n1,20,40\n")
    trace = played(bare(), tmp_path, population={"availability": seen}, rounds=99)
    # 1 + 20/12 s of client 0, until it leaves; 2 + 17/12 s of client 1
    assert [r[:2] for r in rounds(trace)] == [
        (10 * S, 12_666_666_667),
        (12_666_666_667, 15 * S),
        (20 * S, 23_416_666_667),
        (23_416_666_667, 26_833_333_334),
        (26_833_333_334, 30_250_000_001),
        (30_250_000_001, 33_666_666_668),
        (33_666_666_668, 37_083_333_335),
        (37_083_333_335, 40 * S),
        (40 * S, 40 * S),
    ]
    assert trace.tasks[1].status == trace.tasks[-1].status == "left"
    waits = [(e.time_ns, e.kind) for e in trace.events if e.kind != "away or busy"]
    assert waits == [
        (0, "nobody there"),
        (15 * S, "nobody there"),
        (40 * S, "stop"),
    ]
    assert trace.events[-1].detail == "nobody left"


def test_the_first_to_arrive_are_merged_and_the_others_cut_off(tmp_path):
    trace = played(bare(merge_first=2), tmp_path)
    # at 2 s client 0 has sent 12 of 20 Mbit; 2 is there at 3.5 s, 0 a third of a
    # second later, and 1 has then sent 8 of 17
    assert merges(trace) == [
        (0, 1, 3_833_333_334, 1, 0, "done"),
        (1, 1, 3_833_333_334, None, None, "surplus"),
        (2, 1, 3_500_000_000, 1, 0, "done"),
    ]
    assert rounds(trace) == [(0, 3_833_333_334, 3, 2, 1)]
    assert [t.weight for t in trace.tasks] == pytest.approx([1 / 3] * 3)
    trace = played(bare(merge_first=2, corrects_arrivals=True), tmp_path / "again")
    assert trace.tasks[0].weight == trace.tasks[2].weight == pytest.approx(1 / 2)


def test_of_those_who_arrive_together_the_lowest_ids_are_first(tmp_path):
    config = scenario(bare(merge_first=2), 3)
    trace = play_out(config, tmp_path, uploads=(12 * MBIT,) * 3, flops=(10**9,) * 3)
    assert merges(trace) == [
        (0, 1, 4 * S, 1, 0, "done"),
        (1, 1, 4 * S, 1, 0, "done"),
        (2, 1, 4 * S, None, None, "surplus"),
    ]
    assert audit(trace) == []


def test_the_surplus_goes_on_and_is_merged_in_the_next_round(tmp_path):
    server = bare(merge_first=2, late="next-round", staleness_exponent=1.0)
    trace = played(server, tmp_path, rounds=2)
    # from 3.83 s on client 1 has the band to itself for its last 9 Mbit; round 2 has
    # clients 0 and 2 alone: 0 sends from 4.83 s on and has 8 Mbit left when 2 begins
    assert merges(trace) == [
        (0, 1, 3_833_333_334, 1, 0, "done"),
        (2, 1, 3_500_000_000, 1, 0, "done"),
        (1, 1, 4_583_333_334, 2, 1, "done"),
        (0, 2, 7_000_000_001, 2, 0, "done"),
        (2, 2, 6_833_333_334, 2, 0, "done"),
    ]
    assert rounds(trace)[0] == (0, 3_833_333_334, 3, 2, 0)
    assert rounds(trace)[1][2:] == (2, 3, 0)
    late = trace.tasks[2]
    assert late.weight == pytest.approx(1 / 3 / 2)
    # it sends from 2 s on and waits for no one
    assert late.idle_energy_j == pytest.approx(0.0, abs=1e-9)


def test_who_misses_the_deadline_is_merged_in_the_round_it_arrives_in(tmp_path):
    server = bare(Deadline, deadline_s=2.0, late="next-round")
    trace = played(server, tmp_path, rounds=3)
    # nobody is there at 2 s; round 2 has nobody else and waits for the first of them;
    # round 3 has client 2 again, which computes until its deadline, at 5.5 s
    assert merges(trace) == [
        (2, 1, 3_500_000_000, 2, 1, "done"),
        (0, 1, 3_833_333_334, 3, 2, "done"),
        (1, 1, 4_583_333_334, 3, 2, "done"),
        (2, 3, 5_500_000_000, None, None, "unfinished"),
    ]
    assert rounds(trace) == [
        (0, 2 * S, 3, 0, 0),
        (2 * S, 3_500_000_000, 0, 1, 0),
        (3_500_000_000, 5_500_000_000, 1, 2, 0),
    ]


def test_an_asynchronous_server_mixes_every_arrival_in(tmp_path):
    server = Asynchronous(concurrency=2, mixing=0.5, merge_time_s=0.25)
    trace = played_by_two(server, tmp_path, rounds=3)
    # client 0 arrives at 2 s, is merged until 2.25 s and computes again until 3.25 s;
    # by then 1 has sent 3 Mbit, and the other 9 at half the band until 4.75 s, when 0
    # has 3 left: it arrives at 5 s, as the second merge ends
    assert merges(trace)[:3] == [
        (0, 1, 2 * S, 1, 0, "done"),
        (1, 1, 4_750_000_000, 2, 1, "done"),
        (0, 2, 5_000_000_000, 3, 1, "done"),
    ]
    weights = [t.weight for t in trace.tasks[:3]]
    assert weights == [0.5, pytest.approx(8**-0.5), pytest.approx(8**-0.5)]


def test_discounts_by_staleness_are_those_of_the_paper():
    hinge = HingeStaleness(slope=10.0, grace=4)
    assert [hinge.discount(s) for s in (0, 4, 5, 6)] == [1.0, 1.0, 1 / 11, 1 / 21]
    assert ConstantStaleness().discount(7) == 1.0


def test_an_asynchronous_server_picks_among_those_who_are_there(tmp_path):
    seen = presence(tmp_path, "0,1,3\n0,6,9\n1,0,99\n")
    server = Buffered(concurrency=2, buffer_size=1, merge_time_s=0.0)
    people = {"availability": seen}
    trace = played_by_two(server, tmp_path, rounds=3, population=people)
    # client 0 starts when it is there, at 1 s: done at 3 s, at which it leaves; 1 has
    # the band to itself until 4 s. Back at 6 s, 0 shares the band with it from 7 to 9
    assert merges(trace)[:3] == [
        (0, 1, 3 * S, 1, 0, "done"),
        (1, 1, 4 * S, 2, 1, "done"),
        (0, 3, 9_000_000_000, 3, 0, "done"),
    ]
    assert audit(trace) == []


def test_a_lost_client_is_replaced_at_once(tmp_path):
    seen = presence(tmp_path, "0,0,1.5\n1,0,99\n")
    server = Asynchronous(concurrency=1, merge_time_s=0.0)
    people = {"availability": seen}
    trace = played_by_two(server, tmp_path, rounds=2, population=people)
    assert audit(trace) == []
    assert merges(trace) == [
        (0, 1, 1_500_000_000, None, None, "left"),
        (1, 1, 5_500_000_000, 1, 0, "done"),
        (1, 2, 9_500_000_000, 2, 0, "done"),
    ]
    assert rounds(trace)[0] == (0, 5_500_000_000, 2, 1, 1)


def test_an_asynchronous_server_ends_when_no_client_returns(tmp_path):
    seen = presence(tmp_path, "0,2,7\n1,0,5\n")
    server = Buffered(concurrency=2, buffer_size=2, merge_time_s=0.0)
    people = {"availability": seen}
    trace = played_by_two(server, tmp_path, rounds=9, population=people)
    # 1 sends from 3 s on, beside 0, until 5 s: both arrive at the tick 1 leaves at,
    # and 0, which started again when it was there, leaves at 7 s, with all 12 sent
    assert [t.status for t in trace.tasks] == ["done", "done", "unmerged"]
    stop = next(event for event in trace.events if event.kind == "stop")
    assert (stop.time_ns, stop.detail) == (7 * S, "nobody left")
    assert rounds(trace) == [(0, 5 * S, 3, 2, 0), (5 * S, 7 * S, 0, 0, 0)]
    assert audit(trace) == []


def test_a_run_without_arrivals_comes_to_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("netsim.server.buffer_loop.MAX_LOST_IN_A_ROW", 50)
    blinking = {"availability": Periodic(on_s=1.0, off_s=1.0)}
    server = Asynchronous(concurrency=2, merge_time_s=0.0)
    with pytest.raises(
        InputError, match="50 participations in a row brought no update"
    ):
        played_by_two(server, tmp_path, rounds=1, population=blinking)
    config = scenario(server, 2, mode="unicast", population=blinking)
    config = config.model_copy(update={"stop": Stop(time_s=20.0)})
    trace = play_out(config, tmp_path / "timed", uploads=(1, 1), flops=(10**10,) * 2)
    assert audit(trace) == []
    assert 20 * S <= trace.rounds[-1].end_ns <= 22 * S
    stop = next(event for event in trace.events if event.kind == "stop")
    assert stop.detail == "time"


def test_an_outage_loses_the_round_and_the_next_one_starts_over(tmp_path):
    server = bare(outages=(Outage(at_s=3.0, duration_s=2.0),))
    trace = played(server, tmp_path, rounds=2)
    assert [(t.end_ns, t.status, t.round_id) for t in trace.tasks[:3]] == [
        (3 * S, "server-down", 1)
    ] * 3
    assert rounds(trace)[0] == (0, 3 * S, 3, 0, 3)
    assert {t.status for t in trace.transfers if t.end_ns == 3 * S} == {"server-down"}
    # the second round is the first one again, 5 s later: 43 Mbit, 12 of them by 2 s
    assert rounds(trace)[1] == (5 * S, 9_583_333_334, 3, 3, 0)
    assert [(e.time_ns, e.kind) for e in trace.events] == [
        (3 * S, "server down"),
        (5 * S, "server up"),
        (9_583_333_334, "stop"),
    ]


def test_a_server_that_dies_during_the_broadcast_or_the_merge(tmp_path):
    outages = (Outage(at_s=1.0, duration_s=1.0), Outage(at_s=8.0, duration_s=1.0))
    server = patient(outages=outages, merge_time_s=0.25)
    trace = played(server, tmp_path, rounds=2, download=12 * MBIT)
    assert [(t.end_ns, t.download_end_ns, t.status) for t in trace.tasks[:3]] == [
        (S, None, "server-down")
    ] * 3
    # from 2 s on: announced until 2.5, broadcast until 3.5, the uploads end at 8.0833
    assert rounds(trace)[1] == (2 * S, 8 * S, 3, 0, 3)
    assert [t.status for t in trace.tasks[3:]] == ["server-down"] * 3


def test_an_outage_loses_the_late_and_the_buffer_too(tmp_path):
    server = Buffered(
        concurrency=2,
        buffer_size=2,
        merge_time_s=0.0,
        outages=(Outage(at_s=3.0, duration_s=1.0),),
    )
    trace = played_by_two(server, tmp_path, rounds=1)
    # client 0 is there at 2 s and starts again; at 3 s all three are lost
    assert [(t.end_ns, t.status) for t in trace.tasks[:3]] == [
        (2 * S, "server-down"),
        (3 * S, "server-down"),
        (3 * S, "server-down"),
    ]
    # as at the start, from 4 s on: client 0 arrives at 6, and again at 8 or later
    assert rounds(trace)[0][0] == 0
    assert rounds(trace)[0][3:] == (2, 3)
    assert min(t.download_start_ns for t in trace.tasks[3:]) == 4 * S
    assert audit(trace) == []


def test_random_outages_come_after_exponential_times_of_work():
    found = spans((Outage(mean_time_between_s=100.0, duration_s=5.0),), 1)
    one, up_s = [next(found) for _ in range(2000)], []
    before_ns = 0
    for start_ns, end_ns in one:
        assert end_ns == start_ns + 5 * S
        up_s.append((start_ns - before_ns) / S)
        before_ns = end_ns
    assert sum(up_s) / len(up_s) == pytest.approx(100, rel=0.07)


def test_an_empty_battery_ends_computing_at_its_tick(tmp_path):
    battery = Battery(capacity_j=20.0)
    trace = played(
        patient(),
        tmp_path,
        population={"battery": battery},
        download=12 * MBIT,
        rounds=9,
    )
    # a second of waiting for the broadcast, then 1.9 s at 10 W: clients 1 and 2 are
    # empty at 3.4 s. Client 0 has sent since 2.5 s, all by itself, until 4 1/6 s
    assert ends_of(trace, 1) == {
        0: (4_166_666_667, "done"),
        1: (17 * S // 5, "battery"),
        2: (17 * S // 5, "battery"),
    }
    # its second round begins at 4.41667 s; what is left lasts less than its computing
    spent_j = 1 + 10 + 20 / 12 * WHOLE_BAND_W + 0.25
    second = next(t for t in trace.tasks if t.round_id == 2)
    start_s = 4_416_666_667 / S + 0.5
    empty_s = start_s + 1 + (20 - spent_j - 1) / 10
    assert (second.client_id, second.status) == (0, "battery")
    assert second.end_ns == pytest.approx(empty_s * S, abs=20)
    kinds = [(e.kind, e.client_id) for e in trace.events if e.client_id is not None]
    assert kinds == [("battery empty", 1), ("battery empty", 2), ("battery empty", 0)]
    assert trace.events[-1].detail == "nobody left"
    assert len(trace.rounds) == 3  # the last of them finds nobody, and takes no time
    for client_id in range(3):
        assert sum(
            t.compute_energy_j + t.transmit_energy_j + t.idle_energy_j
            for t in trace.tasks
            if t.client_id == client_id
        ) == pytest.approx(20.0, rel=1e-9)


def ends_of(trace, round_id):
    return {
        t.client_id: (t.end_ns, t.status) for t in trace.tasks if t.round_id == round_id
    }


@pytest.mark.parametrize(
    ("capacity_j", "end_s", "status", "empty_s"),
    [
        (10 + 0.5 * WHOLE_BAND_W, 1.5, "battery", 1.5),  # sending since 1 s
        (10 + 20 / 12 * WHOLE_BAND_W + 0.5, 8 / 3, "done", 8 / 3 + 0.5),  # waiting
    ],
)
def test_a_battery_may_end_while_sending_or_waiting(
    capacity_j, end_s, status, empty_s, tmp_path
):
    server = bare(merge_time_s=1.0)
    battery = Battery(capacity_j=capacity_j)
    trace = played(
        server, tmp_path, num_clients=1, population={"battery": battery}, rounds=1
    )
    task = trace.tasks[0]
    assert task.end_ns == pytest.approx(end_s * S, abs=2)
    assert task.status == status
    event = next(e for e in trace.events if e.kind == "battery empty")
    assert event.time_ns == pytest.approx(empty_s * S, abs=2)


def test_waiting_for_a_turn_takes_no_transmit_energy_from_a_battery(tmp_path):
    battery = Battery(capacity_j=26.0)
    trace = played(
        bare(),
        tmp_path,
        sharing=FirstComeTdma(),
        population={"battery": battery},
    )
    # client 0 sends from 1 to 2.667 s, 1 waits since 2 s at 1 W, then sends: 26 J are
    # 20 of computing, 0.667 of waiting and 5.333 of sending at 3.42 W
    last_s = 8 / 3 + (26 - 20 - 2 / 3) / WHOLE_BAND_W
    assert last_s > 8 / 3 + 17 / 12  # so it is through before
    assert ends(trace)[1] == (4_083_333_334, "done")
    small = Battery(capacity_j=22.0)
    trace = played(
        bare(),
        tmp_path / "small",
        sharing=FirstComeTdma(),
        population={"battery": small},
    )
    empty_s = 8 / 3 + (22 - 20 - 2 / 3) / WHOLE_BAND_W
    assert ends(trace)[1] == (pytest.approx(empty_s * S, abs=50), "battery")


def test_periodic_clients_come_and_go_at_their_times(tmp_path):
    there = Periodic(on_s=3.0, off_s=2.0, phase_s=1.0)
    trace = played(
        bare(), tmp_path, num_clients=1, population={"availability": there}, rounds=3
    )
    # there until 2 s, from 4 to 7 s, from 9 s on; it needs 2.6667 s
    assert [(t.download_start_ns, t.end_ns, t.status) for t in trace.tasks] == [
        (0, 2 * S, "left"),
        (4 * S, 6_666_666_667, "done"),
        (6_666_666_667, 7 * S, "left"),
    ]


def checked(*parts, **settings):
    """Raise for what contradicts each other in a scenario."""
    reasons = [reason for _, reason in contradictions(scenario(*parts, **settings))]
    if reasons:
        raise ValueError("; ".join(reasons))


REFUSED = {
    "late needs `merge_first`": lambda: bare(late="next-round"),
    "staleness_exponent needs `late: next-round`": lambda: bare(staleness_exponent=1.0),
    "corrects_arrivals is for `late: drop`": lambda: bare(
        Deadline, deadline_s=1.0, late="next-round", corrects_arrivals=True
    ),
    "give `at` or `mean_time_between`": lambda: Outage(duration_s=1.0),
    "must be the only one": lambda: bare(
        outages=(
            Outage(at_s=1.0, duration_s=1.0),
            Outage(mean_time_between_s=1.0, duration_s=1.0),
        )
    ),
    "must begin after the one before it has ended, at 2 s, got 2 s": lambda: bare(
        outages=(Outage(at_s=1.0, duration_s=1.0), Outage(at_s=2.0, duration_s=1.0))
    ),
    "'equal-fixed' divides the band once per round and with `late": lambda: checked(
        bare(Deadline, deadline_s=1.0, late="next-round"), 3, sharing=EqualFixed()
    ),
    "an 'asynchronous' server serves clients one by one": lambda: checked(
        Asynchronous(concurrency=1, merge_time_s=0.0), 3
    ),
    "corrects nothing: with availability 'always'": lambda: checked(
        bare(corrects_presence=True), 3
    ),
    "must not exceed the 3 clients, got 4": lambda: checked(bare(merge_first=4), 3),
}


@pytest.mark.parametrize("message", REFUSED)
def test_contradictions_are_refused(message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        REFUSED[message]()


def test_more_at_work_than_there_are_is_refused():
    server = Asynchronous(concurrency=3, merge_time_s=0.0)
    with pytest.raises(ValueError, match="must not exceed the 2 clients, got 3"):
        checked(server, 2, mode="unicast")


LATE = "server={kind: deadline, deadline: 1 s, late: next-round, announce_time: 0 s, "
LATE += "merge_time: 0 s, sampling: full}"
FULL = "server={kind: synchronous, sampling: full, announce_time: 0 s, merge_time: 0 s}"
FIRST_TWO = "{kind: synchronous, sampling: full, merge_first: 2, announce_time: 0 s, "
FIRST_TWO += "merge_time: 0 s}"
FREE = "cell.uplink.sharing=processor-sharing"
STACKING = "learning.aggregation=flora-stacking"
REFUSED_BESIDE = {
    "policy: plans for all who are drawn, and `merge_first` does not wait": (
        "server=" + FIRST_TWO.replace("sampling: full, ", ""),
        "policy={kind: proportional, to: system, num_expected: 3}",
    ),
    "policy: an 'asynchronous' server draws among the idle": (
        "server={kind: asynchronous, concurrency: 2, merge_time: 0 s}",
        "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, mode: unicast, "
        "sharing: processor-sharing}",
        "policy={kind: proportional, to: system, num_expected: 3}",
        FREE,
    ),
    "server.late: does not go with aggregation 'flora-stacking': asynchrony": (
        LATE,
        FREE,
        STACKING,
    ),
    "server.late: does not go with learning.compression": (
        LATE,
        FREE,
        "learning.compression={kind: top-k, share: 0.1}",
        "learning.payload={precision: float32}",
    ),
    "population.battery: does not go with aggregation 'hetlora': independent": (
        FULL,
        "population.battery={capacity: 1 kJ}",
        "learning.aggregation=hetlora",
    ),
    "cell.uplink.errors: does not go with aggregation 'hetlora': independent": (
        FULL,
        "cell.uplink.errors={probability: 0.1, max_retries: 1}",
        "learning.aggregation=hetlora",
    ),
}


@pytest.mark.parametrize("message", REFUSED_BESIDE)
def test_a_server_is_refused_beside_what_it_would_break(message):
    with pytest.raises(InputError) as refused:
        read_scenario(find_scenario("quickstart"), REFUSED_BESIDE[message])
    assert message in str(refused.value)


def test_a_plan_waits_for_all_clients(capsys):
    rule = f"server={FIRST_TWO}"
    assert netsim("plan", "network-only", "--set", rule) == 2
    assert "rounds that wait for all who are drawn" in capsys.readouterr().err

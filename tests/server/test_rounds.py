"""Server stories on hand-countable timelines: every time is a literal integer.

One 6 MHz band at 2 bit/s/Hz (SNR 3): 12 Mbit/s alone, 6 for each of two, 4 for each of
three. From 4 s on client 0's uplink has SNR 1, hence 1 bit/s/Hz.
"""

from operator import attrgetter
from typing import ClassVar, Literal

import pytest

from netsim.policy import FullParticipation, IndependentSampling
from netsim.scenario import Record
from netsim.server import Buffered, Deadline
from netsim.server.round_loop import RoundLoop
from netsim.server.round_settings import RoundSettings
from netsim.sharing import EqualFixed, FirstComeTdma, ProcessorSharing
from tests.support.timelines import MBIT, S, patient, play_out, scenario, times


class OneFade(Record):
    """Client 0's uplink loses two thirds of its power at 4 s."""

    kind: Literal["one-fade"] = "one-fade"

    def effective_gain(self, snr, cap=float("inf")):
        return 1.0

    def effective_radio(self, radio):
        return radio

    def gain(self, seed, direction, client_id, now_ns):
        if (direction, client_id) != ("up", 0):
            return 1.0, None
        return (1.0, 4 * S) if now_ns < 4 * S else (1 / 3, None)


def three_clients(server, folder, **changes):
    return play_out(
        scenario(server, 3, fading=OneFade(), **changes),
        folder,
        uploads=(20 * MBIT, 17 * MBIT, 6 * MBIT),
        flops=(10**9, 2 * 10**9, 2 * 10**9),
        download=12 * MBIT,
    )


def test_three_clients_share_a_band_through_one_fade(tmp_path):
    trace = three_clients(patient(), tmp_path)
    assert [times(task) for task in trace.tasks] == [
        (0, S // 2, 3 * S // 2, 5 * S // 2, 6_333_333_334, "done"),
        (1, S // 2, 3 * S // 2, 7 * S // 2, 6_583_333_334, "done"),
        (2, S // 2, 3 * S // 2, 7 * S // 2, 5_000_000_000, "done"),
    ]
    assert [(r.start_ns, r.end_ns) for r in trace.rounds] == [(0, 6_833_333_334)]
    assert [(b.start_ns, b.end_ns, b.num_live) for b in trace.bands] == [
        (500_000_000, 1_500_000_000, 1),
        (2_500_000_000, 3_500_000_000, 1),
        (3_500_000_000, 5_000_000_000, 3),
        (5_000_000_000, 6_333_333_334, 2),
        (6_333_333_334, 6_583_333_334, 1),
    ]
    own = [s for s in trace.segments if s.transfer_id == 1]
    assert [(s.end_ns, s.spectral_efficiency_nbit_s_hz) for s in own] == [
        (4 * S, 2 * S),
        (6_333_333_334, S),
    ]


def test_a_deadline_cuts_off_the_late_at_its_tick(tmp_path):
    server = Deadline(
        sampling=FullParticipation(),
        deadline_s=6.0,
        announce_time_s=0.5,
        merge_time_s=0.25,
    )
    trace = three_clients(server, tmp_path)
    assert [(t.client_id, t.end_ns, t.status) for t in trace.tasks] == [
        (0, 6 * S, "late"),
        (1, 6 * S, "late"),
        (2, 5 * S, "done"),
    ]
    row = trace.rounds[0]
    assert (row.end_ns, row.num_merged, row.num_dropped) == (6_250_000_000, 1, 2)
    assert {t.status for t in trace.transfers if t.end_ns == 6 * S} == {"late"}


def test_who_ends_at_the_deadlines_tick_is_in_time(tmp_path):
    server = Deadline(
        sampling=FullParticipation(),
        deadline_s=5.0,
        announce_time_s=0.5,
        merge_time_s=0.0,
    )
    trace = three_clients(server, tmp_path)
    assert [t.status for t in trace.tasks] == ["late", "late", "done"]
    assert trace.rounds[0].end_ns == 5 * S


def test_a_broadcast_that_outlasts_the_deadline_is_cut(tmp_path):
    server = Deadline(
        sampling=FullParticipation(),
        deadline_s=1.0,
        announce_time_s=0.5,
        merge_time_s=0.25,
    )
    trace = three_clients(server, tmp_path)
    assert [(t.end_ns, t.download_end_ns, t.status) for t in trace.tasks] == [
        (S, None, "late")
    ] * 3
    assert [(t.end_ns, t.status) for t in trace.transfers] == [(S, "late")]
    assert trace.rounds[0].end_ns == S
    assert [e.kind for e in trace.events] == ["deadline", "stop"]


def test_waiting_for_a_turn_takes_no_transmit_energy(tmp_path):
    trace = three_clients(patient(), tmp_path, sharing=FirstComeTdma())
    by_client = {t.client_id: t for t in trace.tasks}
    on_air_s = {
        n: t.transmit_energy_j / (6 * 10**-0.7 / 0.35) for n, t in by_client.items()
    }
    # 20 Mbit: 18 until its fade at 4 s, 2 at 6 Mbit/s; then 17 and 6 Mbit alone
    assert on_air_s[0] == pytest.approx(1.5 + 1 / 3)
    assert on_air_s[1] == pytest.approx(17 / 12)
    assert on_air_s[2] == pytest.approx(6 / 12)


def test_fixed_shares_stay_when_others_have_ended(tmp_path):
    trace = three_clients(patient(), tmp_path, sharing=EqualFixed())
    assert [task.end_ns for task in trace.tasks] == [
        11_000_000_000,  # 1.5 s at 4 Mbit/s, then 7 s at 2
        7_750_000_000,  # 17 Mbit at 4 Mbit/s
        5_000_000_000,  # 6 Mbit at 4 Mbit/s
    ]


def test_energy_is_power_times_the_time_of_each_phase(tmp_path):
    task = three_clients(patient(), tmp_path).tasks[2]
    assert task.compute_energy_j == pytest.approx(10.0 * 2)
    # 2 of 6 MHz for 1.5 s, at its 23 dBm per reference band of 1 MHz
    assert task.transmit_energy_j == pytest.approx(10**-0.7 / 0.35 * 1.5 * 2)
    waiting_s = 1.0 + 6.833333334 - 5.0  # broadcast, then the others
    assert task.idle_energy_j == pytest.approx(waiting_s)


@pytest.mark.parametrize(
    ("sharing", "held_mhz_s"),
    [
        # 6 MHz alone for 1 s, 2 for 1.5, 3 for 4/3; client 1 has 6 for its last 0.25 s
        (ProcessorSharing(), (6 + 3 + 4, 3 + 4 + 1.5, 3)),
        # 2 MHz for 8.5, 4.25 and 1.5 s
        (EqualFixed(), (17, 8.5, 3)),
    ],
    ids=["processor-sharing", "equal-fixed"],
)
def test_a_sender_radiates_in_proportion_to_its_share(tmp_path, sharing, held_mhz_s):
    tasks = three_clients(patient(), tmp_path, sharing=sharing).tasks
    full_w = 10**-0.7 / 0.35  # on the reference band of 1 MHz
    found = [task.transmit_energy_j / full_w for task in tasks]
    assert found == pytest.approx(held_mhz_s, rel=1e-8)
    # idle through the broadcast and after the end, not while computing or sending
    last_s = max(task.end_ns for task in tasks) / S + 0.25
    idle_j = [1.0 + last_s - task.end_ns / S for task in tasks]
    assert [task.idle_energy_j for task in tasks] == pytest.approx(idle_j)


class Periodic(RoundSettings):
    """Merges at every sixth second what has arrived since."""

    kind: ClassVar[str] = "periodic"

    @property
    def traits(self):
        return self.common_traits

    def play(self, stage):
        env = stage.scene.env
        loop = RoundLoop(
            stage,
            self,
            self.round_timing,
            cut=lambda round_: env.timeout(6 * S - env.now % (6 * S)),
        )
        return loop.play()


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (
            "drop",
            [
                (0, 6 * S, None, "surplus"),
                (1, 6 * S, None, "surplus"),
                (2, 5 * S, 1, "done"),
            ],
        ),
        (
            "next-round",
            [
                (0, 6_333_333_334, 2, "done"),
                (1, 6_583_333_334, 2, "done"),
                (2, 5 * S, 1, "done"),
            ],
        ),
    ],
)
def test_a_server_ends_its_rounds_when_it_likes(late, expected, tmp_path):
    """Client 2 arrives at 5 s, the round ends at 6 s."""
    server = Periodic(
        sampling=FullParticipation(),
        announce_time_s=0.5,
        merge_time_s=0.25,
        late=late,
    )
    trace = three_clients(server, tmp_path, rounds=2)
    assert [
        (t.client_id, t.end_ns, t.merged_round_id, t.status)
        for t in sorted(trace.tasks, key=attrgetter("client_id"))
        if t.round_id == 1
    ] == expected
    assert [(r.start_ns, r.end_ns) for r in trace.rounds] == [
        (0, 6_250_000_000),
        (6_250_000_000, 12_250_000_000),
    ]
    assert [e.detail for e in trace.events if e.kind == "enough"][:1] == ["2 late"]


def test_an_empty_round_still_costs_its_broadcast(tmp_path):
    nobody = patient(sampling=IndependentSampling(probability=1e-12))
    trace = three_clients(nobody, tmp_path, rounds=2)
    assert trace.tasks == []
    assert [(r.start_ns, r.end_ns) for r in trace.rounds] == [
        (0, 1_500_000_000),
        (1_500_000_000, 3_000_000_000),
    ]


def test_in_unicast_every_client_downloads_for_itself(tmp_path):
    trace = three_clients(patient(), tmp_path, mode="unicast")
    assert {t.download_end_ns for t in trace.tasks} == {3_500_000_000}
    downloads = [t.client_id for t in trace.transfers if t.direction == "down"]
    assert downloads == [0, 1, 2]


def test_a_buffered_server_counts_staleness_in_versions(tmp_path):
    server = Buffered(concurrency=2, buffer_size=1, merge_time_s=0.0)
    trace = play_out(
        scenario(server, 2, rounds=3, mode="unicast"),
        tmp_path,
        uploads=(12 * MBIT, 12 * MBIT),
        flops=(10**9, 3 * 10**9),
    )
    assert [
        (t.client_id, t.round_id, t.end_ns, t.merged_round_id, t.staleness, t.status)
        for t in trace.tasks
    ] == [
        (0, 1, 2 * S, 1, 0, "done"),
        (0, 2, 5 * S, 2, 0, "done"),
        (1, 1, 5 * S, 3, 2, "done"),
        (0, 3, 5 * S, None, None, "unfinished"),
    ]
    assert [t.weight for t in trace.tasks[:3]] == [1.0, 1.0, pytest.approx(3**-0.5)]
    assert [(r.start_ns, r.end_ns) for r in trace.rounds] == [
        (0, 2 * S),
        (2 * S, 5 * S),
        (5 * S, 5 * S),
    ]

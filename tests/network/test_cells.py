"""Several cells, wires and moving clients, on timelines that one can count by hand.

Every band has 6 MHz. At 100 m the SNR is 3, hence 2 bit/s/Hz and 12 Mbit/s alone; the
path loss has exponent 2, so that twice as far is a quarter of the power.
"""

import json
import math

import pytest

from netsim.channel import Ring, UrbanMicro
from netsim.cosim.checks.scenario import contradictions
from netsim.cosim.learning_kinds import LearningOff
from netsim.cosim.plan_problem import Assumptions, build_task
from netsim.cosim.run import run_scenario
from netsim.devices.catalogue import DeviceChoice
from netsim.errors import InputError
from netsim.network.backhaul import Backhaul
from netsim.network.cells import Interference, Network
from netsim.policy import FullParticipation, IndependentSampling
from netsim.population import PopulationConfig, RadioMap
from netsim.runs.run import load_run
from netsim.server import Deadline, Synchronous
from netsim.sharing import EqualFixed
from netsim.timeline import write_timeline
from netsim.verify import verify
from tests.support.forgery import forge
from tests.support.networks import (
    BOARD,
    EAST,
    THREE,
    WEST,
    cell,
    counted,
    population,
    scenario,
    walk,
)
from tests.support.timelines import MBIT, S, play_out, times


def test_each_cell_shares_its_own_band_and_starts_when_its_own_broadcast_ends(tmp_path):
    slow_east = cell("east", 1000.0, down_hz=3e6)  # 6 Mbit/s down
    trace = counted((WEST, slow_east), tmp_path)
    assert [times(task) for task in trace.tasks] == [
        (0, S // 2, 3 * S // 2, 5 * S // 2, 9 * S // 2, "done"),
        (1, S // 2, 3 * S // 2, 5 * S // 2, 9 * S // 2, "done"),
        (2, S // 2, 5 * S // 2, 7 * S // 2, 9 * S // 2, "done"),
    ]
    assert [(r.start_ns, r.end_ns) for r in trace.rounds] == [(0, 19 * S // 4)]
    own = [(t.client_id, t.cell_id) for t in trace.transfers if t.direction == "up"]
    assert sorted(own) == [(0, 0), (1, 0), (2, 1)]
    assert sorted((b.cell_id, b.direction, b.num_live) for b in trace.bands) == [
        (0, "down", 1),
        (0, "up", 2),
        (1, "down", 1),
        (1, "up", 1),
    ]


def test_a_rule_that_plans_rounds_plans_each_cell_by_itself(tmp_path):
    fixed = EqualFixed()
    cells = cell("west", 0.0, sharing=fixed), cell("east", 1000.0, sharing=fixed)
    trace = counted(cells, tmp_path)
    ends = {task.client_id: task.end_ns for task in trace.tasks}
    assert ends == {0: 9 * S // 2, 1: 9 * S // 2, 2: 7 * S // 2}
    pins = {s.transfer_id: s.pinned_uhz for s in trace.segments if s.pinned_uhz}
    assert sorted(pins.values()) == [3 * 10**12, 3 * 10**12, 6 * 10**12]


def test_a_backhaul_takes_its_messages_in_turn(tmp_path):
    wired = cell("west", 0.0, backhaul=Backhaul(rate_bps=12e6, latency_s=0.1))
    trace = counted((wired, EAST), tmp_path)
    # 12 Mbit take a second on the wire: before the broadcast, and twice after uploads
    assert [times(task) for task in trace.tasks] == [
        (0, 500_000_000, 2_600_000_000, 3_600_000_000, 6_700_000_000, "done"),
        (1, 500_000_000, 2_600_000_000, 3_600_000_000, 7_700_000_000, "done"),
        (2, 500_000_000, 1_500_000_000, 2_500_000_000, 3_500_000_000, "done"),
    ]
    assert [c[:5] + c[6:] for c in trace.crossings] == [
        (0, 0, "down", 1, 12 * MBIT, None, 500_000_000, 1_600_000_000, "done"),
        (1, 0, "up", 1, 12 * MBIT, 0, 5_600_000_000, 6_700_000_000, "done"),
        (2, 0, "up", 1, 12 * MBIT, 1, 5_600_000_000, 7_700_000_000, "done"),
    ]
    assert [(c.name, c.x_m, c.backhaul_bps) for c in trace.cells] == [
        ("west", 0.0, 12e6),
        ("east", 1000.0, None),
    ]


def test_one_cell_alone_without_a_wire_writes_no_table_of_cells(tmp_path):
    trace = counted((cell("only", 500.0),), tmp_path)
    assert not trace.cells
    assert not trace.crossings


def test_a_deadline_cuts_what_is_on_the_wire(tmp_path):
    server = Deadline(
        sampling=FullParticipation(),
        deadline_s=7.0,
        announce_time_s=0.5,
        merge_time_s=0.25,
    )
    wired = cell("west", 0.0, backhaul=Backhaul(rate_bps=12e6, latency_s=0.1))
    trace = counted((wired, EAST), tmp_path, server=server)
    found = {task.client_id: (task.end_ns, task.status) for task in trace.tasks}
    assert found == {
        0: (6_700_000_000, "done"),
        1: (7 * S, "late"),
        2: (3_500_000_000, "done"),
    }
    assert (trace.crossings[-1].end_ns, trace.crossings[-1].status) == (7 * S, "late")


def test_a_round_without_anybody_costs_the_broadcast_to_the_weakest(tmp_path):
    people = population((*THREE[:2], (1100.0, 100.0)))  # SNR 1.5 in the east
    server = Synchronous(
        sampling=IndependentSampling(probability=1e-9),
        announce_time_s=0.5,
        merge_time_s=0.25,
    )
    trace = play_out(
        scenario((WEST, EAST), people, server=server),
        tmp_path,
        uploads=(0,) * 3,
        flops=(0,) * 3,
        download=12 * MBIT,
    )
    (only,) = trace.transfers
    rate_bps = 6e6 * math.log2(2.5)
    assert only.cell_id == 1
    assert only.end_ns - only.start_ns == pytest.approx(12e15 / rate_bps, abs=2)


def radio_map(cells, places, *, interference=None, association="strongest", **changes):
    network = Network(cells, association, interference)
    return RadioMap(population(places, **changes), network, seed=1)


def snrs(found, direction):
    """Return what each client's own cell makes of its signal, without fading."""
    return [
        found.link(n, direction, int(cell_id)).at(0)[0] / 1e6
        for n, cell_id in enumerate(found.cell_ids)
    ]


def test_interference_is_every_rival_at_its_mean_power():
    cells = cell("west", 0.0), cell("east", 400.0)
    places = (100.0, 0.0), (500.0, 0.0), (300.0, 0.0)
    alone = radio_map(cells, places)
    assert alone.cell_ids.tolist() == [0, 1, 1]
    assert snrs(alone, "up") == pytest.approx([3, 3, 3])
    disturbed = radio_map(cells, places, interference=Interference(reuse=1))
    # down: the west disturbs from 500 m and 300 m, the east from 300 m
    assert snrs(disturbed, "down") == pytest.approx(
        [3 / (1 + 3 / 9), 3 / (1 + 3 / 25), 3 / (1 + 3 / 9)]
    )
    # up: at the west the mean of 500 m and 300 m, at the east one from 300 m
    west = 1 + 3 * (1 / 25 + 1 / 9) / 2
    assert snrs(disturbed, "up") == pytest.approx(
        [3 / west, 3 / (1 + 3 / 9), 3 / (1 + 3 / 9)]
    )
    assert disturbed.mean_snrs_db()[0] == pytest.approx(10 * math.log10(3 / west))


def test_a_reuse_factor_says_which_cells_are_rivals():
    network = Network(tuple(cell(name, 0.0) for name in "abcde"), "strongest", None)
    assert network.interferers(0) == []
    tight = Network(network.cells, "strongest", Interference(reuse=2))
    assert [tight.interferers(n) for n in range(5)] == [
        [2, 4],
        [3],
        [0, 4],
        [1],
        [0, 2],
    ]


def test_the_strongest_cell_may_not_be_the_nearest():
    loud = cell("loud", 1000.0, antenna_gain_dbi=10.0)  # heard sqrt(10) times as far
    cells, places = (WEST, loud), ((300.0, 0.0), (200.0, 0.0))
    assert radio_map(cells, places).cell_ids.tolist() == [1, 0]
    near = radio_map(cells, places, association="nearest")
    assert near.cell_ids.tolist() == [0, 0]
    assert near.distance_m.tolist() == [300.0, 200.0]


def test_clients_are_spread_over_the_cells_in_turn():
    people = PopulationConfig(
        num_clients=6,
        placement=Ring(distance_m=100.0),
        devices=(DeviceChoice(device=BOARD),),
    )
    found = RadioMap(people, Network((WEST, EAST)), seed=1)
    assert found.cell_ids.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.distance_m == pytest.approx([100.0] * 6)


def test_another_cell_alters_no_clients_channel():
    shadowed = [
        one.model_copy(
            update={"path_loss": one.path_loss.model_copy(update={"shadowing_db": 8.0})}
        )
        for one in (WEST, EAST)
    ]
    alone = radio_map((shadowed[0],), THREE[:2])
    both = radio_map(tuple(shadowed), THREE[:2], association="nearest")
    assert snrs(both, "up") == snrs(alone, "up")


def test_a_message_stays_in_its_cell_and_the_next_one_goes_by_another(tmp_path):
    # from 3 s on the SNR in the west is 1, hence 6 Mbit/s, and the east is nearer
    away_m = 100 * math.sqrt(3)
    people = walk(tmp_path, "0,2,100,0", f"0,2.5,{away_m!r},0")
    trace = play_out(
        scenario((WEST, cell("east", 300.0)), people, rounds=2),
        tmp_path / "run",
        uploads=(12 * MBIT,),
        flops=(10**9,),
        download=12 * MBIT,
    )
    first, second = trace.tasks
    assert times(first) == (0, S // 2, 3 * S // 2, 5 * S // 2, 4 * S, "done")
    rate_bps = 6e6 * math.log2(1 + 3 * (100 / (300 - away_m)) ** 2)
    took_ns = second.download_end_ns - second.download_start_ns
    assert took_ns == pytest.approx(12e15 / rate_bps, abs=2)
    assert [(t.cell_id, t.direction) for t in trace.transfers] == [
        (0, "down"),
        (0, "up"),
        (1, "down"),
        (1, "up"),
    ]
    (moved,) = [event for event in trace.events if event.kind == "handover"]
    assert (moved.time_ns, moved.client_id) == (second.download_start_ns, 0)
    assert moved.detail == "cell 0 to cell 1"


def test_moving_makes_events_only_for_who_is_sending(tmp_path):
    people = walk(tmp_path, "0,0,100,0", "0,100,200,0", "1,0,100,0", "1,100,100,0")
    trace = play_out(
        scenario((WEST,), people),
        tmp_path / "run",
        uploads=(36 * MBIT, 0),
        flops=(10**9, 10**9),
    )
    (only,) = trace.transfers
    starts = [segment.start_ns for segment in trace.segments]
    assert starts[:3] == [3 * S // 2, 2 * S, 3 * S]
    assert len(starts) == only.end_ns // S - only.start_ns // S + 1


def wandering(tmp_path, **changes):
    """Return a run of three rounds with wires, in which one client moves over."""
    people = walk(
        tmp_path, "0,0,100,0", "0,20,900,0", "1,0,0,100", "2,0,900,0", interval_s=0.5
    )
    cells = [
        one.model_copy(update={"backhaul": Backhaul(rate_bps=12e6, latency_s=0.1)})
        for one in (WEST, EAST)
    ]
    learning = LearningOff(
        download_bits=6 * MBIT, upload_bits=6 * MBIT, compute_flop=10**9
    )
    folder = tmp_path / "run"
    run_scenario(
        scenario(tuple(cells), people, rounds=6, learning=learning, **changes), folder
    )
    return folder


def test_a_sound_run_of_several_cells_has_no_findings(tmp_path):
    assert verify(wandering(tmp_path)) == []


@pytest.mark.parametrize("mode", ["broadcast", "unicast"])
@pytest.mark.parametrize("deadline_s", [0.9, 1.4, 2.2, 4.3, 4.6])
def test_a_run_cut_anywhere_is_sound(tmp_path, deadline_s, mode):
    server = Deadline(
        sampling=FullParticipation(),
        deadline_s=deadline_s,
        announce_time_s=0.5,
        merge_time_s=0.25,
    )
    wired = {"backhaul": Backhaul(rate_bps=12e6, latency_s=0.1), "mode": mode}
    cells = cell("west", 0.0, **wired), cell("east", 1000.0, **wired)
    learning = LearningOff(
        download_bits=6 * MBIT, upload_bits=6 * MBIT, compute_flop=10**9
    )
    run_scenario(
        scenario(cells, population(THREE), server=server, learning=learning, rounds=2),
        tmp_path / "run",
    )
    assert verify(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("table", "column", "change", "rule"),
    [
        ("transfers", "cell_id", lambda c: [1 - c[0], *c[1:]], None),
        ("events", "detail", lambda d: ["cell 1 to cell 0", *d[1:]], "a handover"),
        ("events", "kind", lambda k: ["walk", *k[1:]], "a transfer must be in its"),
        ("crossings", "end_ns", lambda e: [e[0] - 1, *e[1:]], "a message must be thr"),
        ("crossings", "bits", lambda b: [*b[:-1], 7], "what crosses to the server"),
        ("crossings", "cell_id", lambda c: [7] * len(c), "a crossing must be on a"),
        ("cells", "backhaul_bps", lambda r: [r[0], 11e6], "a message must be through"),
    ],
)
def test_a_forged_row_is_found(tmp_path, table, column, change, rule):
    folder = wandering(tmp_path)
    forge(folder, table, column, change)
    found = [finding.rule for finding in verify(folder)]
    assert found
    if rule is not None:
        assert any(one.startswith(rule) for one in found), found


def refused(**changes):
    settings = {"cells": (WEST, EAST), "people": population(THREE)} | changes
    found = scenario(settings.pop("cells"), settings.pop("people"), **settings)
    return "; ".join(reason for _, reason in contradictions(found))


def test_what_cannot_be_together_is_refused(tmp_path):
    assert "exactly one" in refused(cell=WEST)
    assert "exactly one" in refused(cells=None)
    assert "2 cells have the name 'west'" in refused(cells=(WEST, WEST))
    lonely = refused(cells=(WEST,), interference=Interference(reuse=1))
    assert "no other cell to disturb" in lonely
    around = population(THREE).model_copy(update={"placed_around": "cells"})
    assert "placed_around: origin" in refused(people=around)
    fixed = cell("east", 1000.0, sharing=EqualFixed())
    moving = walk(tmp_path, "0,0,100,0")
    assert "does not follow" in refused(cells=(WEST, fixed), people=moving)


def test_a_plan_knows_one_band(tmp_path):
    several = scenario((WEST, EAST), population(THREE))
    with pytest.raises(InputError, match=r"a plan supports one band .* got 2 cells"):
        build_task(several, Assumptions())


def test_a_client_out_of_every_reach_is_named():
    far = (100.0, 0.0), (99_000.0, 0.0)
    urban = WEST.model_copy(update={"path_loss": UrbanMicro(carrier_hz=3.5e9)})
    other = urban.model_copy(update={"name": "other", "position_m": (500.0, 0.0)})
    with pytest.raises(InputError, match=r"client 1 is at \(99000 m, 0 m\)"):
        radio_map((urban, other), far)


def test_a_timeline_shows_what_was_on_the_wire(tmp_path):
    folder = wandering(tmp_path)
    write_timeline(folder, tmp_path / "timeline.json")
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    wired = [e for e in events if e["ph"] == "B" and e["cat"] == "backhaul"]
    assert len(wired) == len(load_run(folder).crossings)
    assert {event["name"] for event in wired} >= {
        "backhaul broadcast round 1",
        "backhaul up round 1 client 0",
    }

"""Cells, wires, losses, absences and servers that meet, on timelines counted by hand.

Cells and clients are those of ``test_cells``: 12 Mbit take a second on a whole band.
"""

from dataclasses import dataclass

import pytest
from pydantic import ValidationError

from fl.contract import Score
from netsim.availability import Recorded
from netsim.channel import Points
from netsim.cosim.checks.scenario import contradictions
from netsim.cosim.learning_kinds import LearningOff
from netsim.cosim.run import run_scenario
from netsim.cosim.world import build_population, build_stage, play
from netsim.devices.battery import Battery
from netsim.devices.catalogue import DeviceChoice
from netsim.devices.device_file import NO_POWERS
from netsim.learner.evaluation_schedule import EvaluationSchedule
from netsim.learner.no_learning import NoLearning
from netsim.network.backhaul import Backhaul
from netsim.policy import FullParticipation
from netsim.population import PopulationConfig
from netsim.runs.run import load_run
from netsim.server import Deadline, Hierarchical, Synchronous
from netsim.server.outages import Outage
from netsim.trace.writer import Recorder
from netsim.verify import verify
from tests.support.networks import (
    BOARD,
    EAST,
    THREE,
    WEST,
    cell,
    counted,
    population,
    scenario,
)
from tests.support.timelines import MBIT, S, play_out, times


def impatient(deadline_s, **changes):
    return Deadline(
        sampling=FullParticipation(),
        deadline_s=deadline_s,
        announce_time_s=0.5,
        merge_time_s=0.25,
        **changes,
    )


def test_a_deadline_cuts_a_broadcast_that_has_crossed_the_wire(tmp_path):
    wired = cell("west", 0.0, backhaul=Backhaul(rate_bps=12e6, latency_s=0.1))
    trace = counted((wired, EAST), tmp_path, server=impatient(2.0))
    assert [times(task)[4:] for task in trace.tasks] == [(2 * S, "late")] * 3
    (west,) = (t for t in trace.transfers if t.cell_id == 0)
    assert (west.start_ns, west.end_ns, west.status) == (16 * S // 10, 2 * S, "late")


def test_who_is_late_for_the_next_round_still_gets_its_broadcast(tmp_path):
    config = scenario(
        (cell("only", 0.0),),
        population(THREE[:1]),
        server=impatient(1.0, late="next-round"),
        rounds=4,
    )
    trace = play_out(
        config, tmp_path, uploads=(12 * MBIT,), flops=(10**9,), download=12 * MBIT
    )
    # the broadcast ends half a second after the deadline; round 4 is from 3 s to 4 s
    first = trace.tasks[0]
    assert times(first) == (0, S // 2, 3 * S // 2, 5 * S // 2, 7 * S // 2, "done")
    assert (first.merged_round_id, first.staleness) == (4, 3)


def test_a_server_that_dies_as_the_run_ends_has_ended(tmp_path):
    server = Synchronous(
        sampling=FullParticipation(),
        announce_time_s=0.5,
        merge_time_s=0.25,
        merge_first=1,
        late="next-round",
        outages=(Outage(at_s=3.75, duration_s=1.0),),
    )
    config = scenario((cell("only", 0.0),), population(THREE[:2]), server=server)
    trace = play_out(
        config,
        tmp_path,
        uploads=(12 * MBIT, 0),
        flops=(10**9, 2 * 10**9),
        download=12 * MBIT,
    )
    (only,) = trace.rounds
    assert only.end_ns == 15 * S // 4
    assert [e.kind for e in trace.events][-2:] == ["stop", "dismissed"]


def there(folder, *rows):
    """Return who is there as a file says, in rows of client, start and end in s."""
    path = folder / "there.csv"
    path.write_text("client_id,start,end\n" + "\n".join(rows) + "\n")
    return Recorded(path=str(path))


def patient(**changes):
    return Synchronous(
        sampling=FullParticipation(), announce_time_s=0.5, merge_time_s=0.25, **changes
    )


def test_who_leaves_while_the_broadcast_is_on_the_wire_is_in_order(tmp_path):
    wired = cell("west", 0.0, backhaul=Backhaul(rate_bps=12e6, latency_s=0.1))
    people = population(
        THREE[:2], availability=there(tmp_path, "0,0,100", "1,0,1", "1,90,100")
    )
    config = scenario(
        (wired,),
        people,
        server=patient(),
        learning=LearningOff(
            download_bits=12 * MBIT, upload_bits=12 * MBIT, compute_flop=10**9
        ),
    )
    run_scenario(config, tmp_path / "run")
    tasks = load_run(tmp_path / "run").tasks
    assert tasks.status.tolist() == ["done", "left"]
    assert tasks.end_ns.tolist() == [57 * S // 10, S]
    assert verify(tmp_path / "run") == []


def played(config, learner, folder):
    """Return the trace of a scenario with a learner of one's own."""
    recorder = Recorder(folder)
    people = build_population(config, learner)
    play(build_stage(config, learner, people, recorder, lambda _: None), config)
    return recorder


class OneDownload(NoLearning):
    """A broadcast for all and a message for each, of a second alone; nothing else."""

    def bits_down(self, job, have):
        return 12 * MBIT, 12 * MBIT


def test_a_download_of_its_own_after_the_broadcast_costs_idle_energy(tmp_path):
    people = population(THREE[:1], availability=there(tmp_path, "0,0,2", "0,9,10"))
    config = scenario((cell("only", 0.0),), people, server=patient())
    learner = OneDownload(
        num_clients=1,
        download_bits=0,
        upload_bits=0,
        compute_flop=0,
        memory_bytes=0,
        samples_per_client=1,
    )
    trace = played(config, learner, tmp_path / "run")
    (task,) = trace.tasks
    assert (task.end_ns, task.status) == (2 * S, "left")
    assert task.idle_energy_j == 1.5  # at 1 W since the broadcast began


def edges(edge_rounds):
    return Hierarchical(
        sampling=FullParticipation(),
        edge_rounds=edge_rounds,
        announce_time_s=0.5,
        merge_time_s=0.25,
        cloud_merge_time_s=0.25,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored(NoLearning):
    """Scores every version that it is asked for."""

    def evaluate(self, version):
        return [Score("test", 1, 0.5, 0.5)]


def test_a_cloud_that_merges_now_and_then_scores_as_soon_as_it_is_due(tmp_path):
    config = scenario((WEST, EAST), population(THREE), server=edges(3), rounds=15)
    learner = Scored(
        num_clients=3,
        download_bits=0,
        upload_bits=0,
        compute_flop=0,
        memory_bytes=0,
        samples_per_client=1,
        schedule=EvaluationSchedule(every=4),
    )
    trace = played(config, learner, tmp_path / "run")
    # 4, 8 and 12 are due; the cloud merges after 3, 6, 9, 12 and, the last, 15
    assert [row.round_id for row in trace.evals] == [0, 6, 9, 12, 15]


def test_edges_cannot_exchange_versions_whose_size_is_not_told():
    wired = cell("west", 0.0, backhaul=Backhaul(rate_bps=12e6, latency_s=0.1))
    listed = LearningOff(
        download_bits=(MBIT, MBIT, MBIT), upload_bits=0, compute_flop=0
    )
    changes = {"server": edges(2), "learning": listed}
    assert not list(
        contradictions(scenario((WEST, EAST), population(THREE), **changes))
    )
    found = contradictions(scenario((wired, EAST), population(THREE), **changes))
    assert any("a list tells the size of none" in reason for _, reason in found)


def test_a_battery_may_last_for_less_than_a_tick(tmp_path):
    people = population(THREE[:1], battery=Battery(capacity_j=1e-9 / 4))
    config = scenario((cell("only", 0.0),), people, server=patient())
    run_scenario(config, tmp_path / "run")
    assert verify(tmp_path / "run") == []


def test_a_battery_is_refused_where_a_devices_power_is_unknown():
    unknown = BOARD.model_copy(update={"source": NO_POWERS})
    devices = (DeviceChoice(device=unknown),)
    with pytest.raises(ValidationError, match="needs the powers of 'board'"):
        PopulationConfig(
            num_clients=1,
            placement=Points(places_m=THREE[:1]),
            devices=devices,
            battery=Battery(capacity_j=1.0),
        )

"""Edge servers and a cloud: when who is merged, with which weight, with what result.

The cells are those of ``test_cells``: 12 Mbit/s alone at 100 m, and here a wire of as
much with 0.1 s of latency behind each.
"""

import pytest
import torch
from safetensors.torch import load_file

from fl.aggregation import FedExLora, FedIT
from fl.aggregation.server_optimiser import MomentumServer
from fl.contract import Arrival, Branch
from fl.model.adapters import LoraSettings
from fl.partition import IID
from fl.settings.local_training import TrainingSettings
from netsim.cosim.checks.scenario import contradictions
from netsim.cosim.learning_kinds import LearningOff, LoraLearning
from netsim.cosim.run import run_scenario
from netsim.errors import InputError
from netsim.network.backhaul import Backhaul
from netsim.policy import FullParticipation, IndependentSampling
from netsim.report import write_report
from netsim.runs import questions
from netsim.runs.run import load_run
from netsim.server import Hierarchical, Synchronous
from netsim.timeline import write_timeline
from netsim.verify import verify
from tests.support.federations import TINY, federation, numbers, submit
from tests.support.forgery import forge
from tests.support.networks import EAST, THREE, WEST, population, scenario, walk
from tests.support.timelines import MBIT, S, play_out, times

WIRED = [
    cell.model_copy(update={"backhaul": Backhaul(rate_bps=12e6, latency_s=0.1)})
    for cell in (WEST, EAST)
]


def edges(edge_rounds, **changes):
    defaults = {
        "sampling": FullParticipation(),
        "announce_time_s": 0.5,
        "merge_time_s": 0.25,
        "cloud_merge_time_s": 1.0,
    }
    return Hierarchical(edge_rounds=edge_rounds, **(defaults | changes))


def counted(folder, **changes):
    people = population(THREE)
    config = scenario(tuple(WIRED), people, **({"server": edges(2)} | changes))
    return play_out(
        config,
        folder,
        uploads=(12 * MBIT,) * 3,
        flops=(10**9,) * 3,
        download=12 * MBIT,
    )


def test_edges_go_on_by_themselves_until_the_cloud_merges_them(tmp_path):
    trace = counted(tmp_path)
    assert [row[:2] + row[3:] for row in trace.rounds] == [
        (1, 1, 1_100_000_000, 4_850_000_000, 1, 1, 0),
        (1, 0, 1_100_000_000, 5_850_000_000, 2, 2, 0),
        (2, 1, 4_850_000_000, 8_600_000_000, 1, 1, 0),
        (2, 0, 5_850_000_000, 10_600_000_000, 2, 2, 0),
        (2, 2, 0, 12_700_000_000, 2, 2, 0),
    ]
    assert sorted(times(task) for task in trace.tasks if task.round_id == 1) == [
        (0, 1_600_000_000, 2_600_000_000, 3_600_000_000, 5_600_000_000, "done"),
        (1, 1_600_000_000, 2_600_000_000, 3_600_000_000, 5_600_000_000, "done"),
        (2, 1_600_000_000, 2_600_000_000, 3_600_000_000, 4_600_000_000, "done"),
    ]
    assert [
        (c.cell_id, c.direction, c.start_ns, c.end_ns) for c in trace.crossings
    ] == [
        (0, "down", 0, 1_100_000_000),
        (1, "down", 0, 1_100_000_000),
        (1, "up", 8_600_000_000, 9_700_000_000),
        (0, "up", 10_600_000_000, 11_700_000_000),
    ]


def test_an_update_weighs_its_share_of_its_cell(tmp_path):
    weights = {task.client_id: task.weight for task in counted(tmp_path).tasks}
    assert weights == pytest.approx({0: 0.5, 1: 0.5, 2: 1.0})


def test_edges_draw_as_one_server_would(tmp_path):
    sampling = IndependentSampling(probability=0.5)
    flat = Synchronous(sampling=sampling, announce_time_s=0.5, merge_time_s=0.25)
    drawn = []
    for server in (flat, edges(2, sampling=sampling)):
        trace = play_out(
            scenario((WEST, EAST), population(THREE), server=server, rounds=6),
            tmp_path / server.kind,
            uploads=(0,) * 3,
            flops=(10**9,) * 3,
        )
        drawn.append(sorted((t.round_id, t.client_id, t.weight) for t in trace.tasks))
    share = {0: 2 / 3, 1: 2 / 3, 2: 1 / 3}
    flat_drawn, edge_drawn = drawn
    assert len(flat_drawn) > 3
    for one, other in zip(flat_drawn, edge_drawn, strict=True):
        assert one[:2] == other[:2]
        assert one[2] / share[one[1]] == pytest.approx(other[2])


def sound_run(folder, **changes):
    learning = LearningOff(
        download_bits=6 * MBIT, upload_bits=6 * MBIT, compute_flop=10**9
    )
    people = population(THREE)
    settings = {"server": edges(2), "learning": learning, "rounds": 4} | changes
    run_scenario(scenario(tuple(WIRED), people, **settings), folder)
    return folder


def test_a_sound_run_of_edges_has_no_findings_and_a_picture(tmp_path):
    folder = sound_run(tmp_path / "run")
    assert verify(folder) == []
    assert write_timeline(folder, tmp_path / "timeline.json") > 50


@pytest.mark.parametrize(
    ("table", "column", "change", "rule"),
    [
        ("rounds", "num_merged", lambda n: [*n[:4], 1, *n[5:]], "the cloud must"),
        ("rounds", "end_ns", lambda e: [*e[:4], e[4] - 3 * S, *e[5:]], "the cloud mu"),
        ("crossings", "direction", lambda d: ["up", *d[1:]], "edge and cloud must"),
    ],
)
def test_a_forged_row_is_found(tmp_path, table, column, change, rule):
    folder = sound_run(tmp_path / "run")
    forge(folder, table, column, change)
    assert any(finding.rule.startswith(rule) for finding in verify(folder))


def test_one_edge_round_of_averaging_is_one_flat_merge(tmp_path):
    weights = (0.2, 0.3, 0.5)
    flat = federation()
    jobs = [submit(flat, n, flat.initial_version) for n in range(3)]
    merged = flat.merge(flat.initial_version, list(map(Arrival, jobs, weights)))
    expected = numbers(flat, merged.version, tmp_path / "flat")

    fed = federation()
    base = fed.initial_version
    jobs = [submit(fed, n, base) for n in range(3)]
    west = fed.merge(base, [Arrival(jobs[0], 0.4), Arrival(jobs[1], 0.6)]).version
    fed.hold([base, west])
    east = fed.merge(base, [Arrival(jobs[2], 1.0)]).version
    fed.hold([base, west, east])
    cloud = fed.join(base, [Branch(west, 0.5), Branch(east, 0.5)], round_id=1)
    found = numbers(fed, cloud.version, tmp_path / "edges")
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-12)
    assert {row.num_components for row in cloud.layers} == {2}


def test_a_version_that_is_not_held_is_forgotten():
    fed = federation()
    base = fed.initial_version
    jobs = [submit(fed, n, base) for n in range(2)]
    west = fed.merge(base, [Arrival(jobs[0], 1.0)]).version
    fed.merge(base, [Arrival(jobs[1], 1.0)])
    with pytest.raises(KeyError, match="no longer kept"):
        fed.join(base, [Branch(west, 1.0)], round_id=1)


def learned(folder, server, **changes):
    learning = LoraLearning(
        backbone=TINY,
        partition=IID(),
        lora=LoraSettings(r=2, lora_alpha=6.0),
        training=TrainingSettings(learning_rate=0.05, optim="sgd", local_steps=2),
        aggregation=FedIT(),
    )
    people = population(THREE, compute_jitter=0.0)
    memory = people.devices[0].device.model_copy(update={"memory_bytes": 10**12})
    devices = (people.devices[0].model_copy(update={"device": memory}),)
    people = people.model_copy(update={"devices": devices})
    settings = {"server": server, "learning": learning, "rounds": 2} | changes
    manifest = run_scenario(scenario(tuple(WIRED), people, **settings), folder)
    assert verify(folder) == []
    return manifest, load_file(folder / "adapter" / "adapter_model.safetensors")


def test_a_run_of_single_edge_rounds_learns_what_one_server_does(tmp_path, monkeypatch):
    monkeypatch.setattr("fl.memory.store.default_folder", lambda: tmp_path / "store")
    flat = Synchronous(
        sampling=FullParticipation(), announce_time_s=0.5, merge_time_s=0.25
    )
    _, expected = learned(tmp_path / "flat", flat)
    first, found = learned(tmp_path / "edges", edges(1))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
    again, _ = learned(tmp_path / "again", edges(1))
    assert first.digest == again.digest
    all_steps = first.steps_trained + first.steps_reused
    assert (again.steps_trained, again.steps_reused) == (0, all_steps)
    several, other = learned(tmp_path / "several", edges(2))
    assert several.steps_trained > 0
    assert any(not torch.equal(found[name], other[name]) for name in found)


def test_what_edge_servers_do_not_do_is_refused(tmp_path):
    def refused(**changes):
        settings = {"cells": tuple(WIRED), "people": population(THREE)} | changes
        found = scenario(
            settings.pop("cells"), settings.pop("people"), server=edges(1), **settings
        )
        return "; ".join(reason for _, reason in contradictions(found))

    assert "at least two" in refused(cells=(WEST,))
    moving = walk(tmp_path, "0,0,100,0")
    assert "clients stay in its cell" in refused(people=moving)
    momentum = LoraLearning(aggregation=FedIT(), server_optimiser=MomentumServer())
    assert "the edges' or the cloud's" in refused(learning=momentum)
    folding = LoraLearning(aggregation=FedExLora())
    assert "'fedex-lora': asynchrony" in refused(learning=folding)


def test_questions_and_reports_know_edges(tmp_path):
    run = load_run(sound_run(tmp_path / "run"))
    spans = questions.round_spans(run)
    edges_only = run.rounds[run.rounds["server_id"] < 2].groupby("round_id")
    assert spans["start_ns"].tolist() == edges_only["start_ns"].min().tolist()
    assert spans["end_ns"].tolist() == edges_only["end_ns"].max().tolist()
    released = questions.release_times_ns(run)
    ends = run.rounds.set_index(["round_id", "server_id"])["end_ns"]
    homes = {0: 0, 1: 0, 2: 1}
    expected = [
        ends[round_id, homes[client_id]]
        for round_id, client_id in zip(
            run.tasks["round_id"], run.tasks["client_id"], strict=True
        )
    ]
    assert released.tolist() == expected
    with pytest.raises(InputError, match="every edge server has its own"):
        questions.critical_path(run)
    write_report(run.folder, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000

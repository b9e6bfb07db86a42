"""What everyone asks of a run, on numbers that can be checked by hand."""

import pandas as pd
import pytest

import netsim
from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.runs import questions
from tests.support import tiny_run
from tests.support.timelines import MBIT, patient, play_out, scenario

S = tiny_run.S
PHASES = questions.PHASES
NAN = float("nan")


@pytest.fixture
def run(tmp_path):
    return load_run(tiny_run.write_run(tmp_path / "tiny"))


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions") / "run"
    return netsim.run("network-only", "stop.rounds=6", out=folder)


def edited(run, table, row, **changes):
    """Change fields of one row of a table."""
    frame = run.table(table).copy()
    words = frame.select_dtypes("category").columns
    frame = frame.astype(dict.fromkeys(words, "str"))
    for name, value in changes.items():
        frame.loc[row, name] = value
    run._frames[table] = frame
    return run


def cut_in_compute(run, status="late"):
    """Let client 8 be cut at 3 s, when it computes: nothing is merged of it."""
    lost = {"compute_end_ns": pd.NA, "upload_start_ns": pd.NA, "upload_bits": 0}
    nowhere = {"merged_round_id": pd.NA, "staleness": pd.NA}
    return edited(run, "tasks", 1, end_ns=3 * S, status=status, **lost, **nowhere)


def listed(frame):
    """Return a frame's rows with its index in front."""
    return [tuple(row) for row in frame.reset_index().to_numpy(dtype=object)]


def test_phases_add_up_to_the_task(run):
    assert listed(questions.phases(run.tasks)) == [
        (0, 1.0, 1.0, 1.0),
        (1, 1.0, 1.0, 2.0),
    ]
    assert listed(questions.phases(cut_in_compute(run).tasks)) == [
        (0, 1.0, 1.0, 1.0),
        (1, 1.0, 2.0, 0.0),
    ]


def test_stragglers_are_slower_than_the_median(run):
    found = questions.stragglers(run)
    columns = ["device", "num_tasks", "num_lost", "mean_s", "worst_s", "num_last"]
    assert list(found.columns) == [*columns, "slowdown"]
    assert listed(found) == [
        (8, "laptop", 1, 0, 4.0, 4.0, 1, 4 / 3.5),
        (7, "phone", 1, 0, 3.0, 3.0, 0, 3 / 3.5),
    ]


def test_a_slow_round_slows_no_client_that_was_drawn_in_it(run):
    def later(round_id, tasks):
        slow = tasks.assign(round_id=round_id)
        slow["end_ns"] = 10 * tasks["end_ns"]  # so ten times as long
        return slow

    twice = pd.concat([run.tasks, later(2, run.tasks)], ignore_index=True)
    run._frames["tasks"] = twice
    found = questions.stragglers(run)["slowdown"]
    assert found.to_dict() == pytest.approx({8: 4 / 3.5, 7: 3 / 3.5})
    alone = later(3, run.tasks.iloc[:1])  # 30 s; of all, the median is 30 s
    run._frames["tasks"] = pd.concat([twice, alone], ignore_index=True)
    found = questions.stragglers(run)["slowdown"]
    assert found[7] == pytest.approx((3 / 3.5 + 3 / 3.5 + 1) / 3, abs=1e-3)


@pytest.mark.parametrize(("status", "num_lost"), [("late", 1), ("unfinished", 0)])
def test_what_the_runs_end_cut_is_not_lost(run, status, num_lost):
    found = questions.stragglers(cut_in_compute(run, status))
    assert found["num_lost"].to_dict() == {7: 0, 8: num_lost}
    assert found["num_last"].to_dict() == {7: 1, 8: 1}  # both end at 3 s


def test_band_use_is_of_the_whole_run(run):
    assert listed(questions.band_use(run)) == [
        (0, "down", 1.0, 0.25, 0.25, 1.0),
        (0, "up", 2.0, 0.5, 0.5, 1.5),
    ]
    half = edited(run, "bands", 2, allocated_uhz=tiny_run.HZ)
    used = questions.band_use(half)["used_share"]
    assert used.tolist() == [0.25, 0.375]  # a second of all, and one of half


def test_participation_counts_who_was_never_drawn(run):
    clients = run.clients
    third = clients.iloc[[0]].assign(client_id=9, weight=0.0)
    run._frames["clients"] = pd.concat([clients, third], ignore_index=True)
    found = questions.participation(cut_in_compute(run))
    counts = ["data_weight", "num_tasks", "num_merged", "influence"]
    assert list(found.columns) == ["device", *counts]
    assert listed(found[counts]) == [
        (7, 0.25, 1, 1, 1.0),
        (8, 0.75, 1, 0, 0.0),
        (9, 0.0, 0, 0, 0.0),
    ]
    assert questions.jain_index(found["num_merged"]) == pytest.approx(1 / 3)
    assert questions.jain_index(found["num_tasks"]) == pytest.approx(4 / (3 * 2))


def test_jain_index_of_known_counts():
    assert questions.jain_index([3, 1]) == 16 / 20
    assert questions.jain_index([5, 5, 5]) == 1.0
    assert str(questions.jain_index([0, 0])) == "nan"


def test_a_broadcast_is_sent_once_and_counted_by_every_client(run):
    found = questions.bits(run)
    columns = ["num_transfers", "sent_bits", "cut_bits", "client_bits"]
    assert list(found.columns) == columns
    assert listed(found) == [("down", 1, 2, 0, 4), ("up", 2, 4, 0, 4)]
    late = edited(run, "transfers", 2, status="late")
    assert listed(questions.bits(late))[1] == ("up", 2, 1, 3, 4)


def test_energy_is_joined_by_device(run):
    found = questions.energy(edited(run, "tasks", 1, idle_energy_j=0.5))
    assert found.loc["phone"].to_dict() == {
        "num_clients": 1,
        "num_tasks": 1,
        "compute_energy_j": 1.0,
        "transmit_energy_j": 0.2,
        "idle_energy_j": 0.0,
        "total_j": 1.2,
        "task_j": 1.2,
    }
    assert found.loc["laptop", "total_j"] == 1.7


def test_merge_error_names_the_worst_layer(run):
    merges = run.merges
    worse = merges.assign(
        layer="layer.1.v_proj", relative_error=3e-3, average_relative_error=0.5
    )
    unknown = merges.assign(layer="layer.2", relative_error=NAN)
    run._frames["merges"] = pd.concat([worse, merges, unknown], ignore_index=True)
    found = questions.merge_error(run)
    assert list(found.columns) == [
        "time_s",
        "mean_error",
        "worst_error",
        "average_error",
        "worst_layer",
    ]
    assert listed(found) == [(1, 4.0, 2e-3, 3e-3, 0.5, "layer.1.v_proj")]


def test_staleness_is_of_what_a_merge_took(run):
    assert listed(questions.staleness(run)) == [(1, 4.0, 2, 0.0, 0)]
    stale = edited(run, "tasks", 1, staleness=3)
    assert listed(questions.staleness(stale)) == [(1, 4.0, 2, 1.5, 3)]
    cut = questions.staleness(cut_in_compute(run))
    assert listed(cut) == [(1, 4.0, 1, 0.0, 0)]


def test_the_critical_path_of_the_tiny_run(run):
    found = questions.critical_path(run)
    columns = ["round_s", "client_id", "status", "download_s", "compute_s", "upload_s"]
    assert list(found.columns) == [*columns, "server_s", "longest", "sooner_s"]
    assert listed(found) == [(1, 4.0, 8, "done", 1.0, 1.0, 2.0, 0.0, "upload", 1.0)]


def test_the_server_may_be_the_longest_part(run):
    found = questions.critical_path(edited(run, "rounds", 0, end_ns=9 * S)).loc[1]
    assert (found["server_s"], found["longest"], found["sooner_s"]) == (5, "server", 1)


def test_without_one_of_two_last_ones_nothing_ends_sooner(run):
    found = questions.critical_path(cut_in_compute(run)).loc[1]
    assert (found["client_id"], found["sooner_s"]) == (7, 0.0)


def test_a_round_without_anybody_has_only_its_length(run):
    second = run.rounds.assign(round_id=2, start_ns=4 * S, end_ns=5 * S)
    run._frames["rounds"] = pd.concat([run.rounds, second], ignore_index=True)
    found = questions.critical_path(run)
    assert found["round_s"].tolist() == [4.0, 1.0]
    assert found.loc[2].drop("round_s").isna().all()


def test_who_was_alone_has_no_lead(run):
    run._frames["tasks"] = run.tasks.iloc[:1]
    found = questions.critical_path(run).loc[1]
    assert (found["client_id"], str(found["sooner_s"])) == (7, "nan")


def test_a_buffer_has_no_critical_path(run):
    with pytest.raises(InputError, match="merges no late updates; stragglers"):
        questions.critical_path(edited(run, "tasks", 0, staleness=1))
    edited(run, "tasks", 0, staleness=0)
    (run.folder / "scenario.yaml").write_text("server: {kind: buffered}\n")
    tiny_run.manifest(run.folder).write(run.folder)
    with pytest.raises(InputError, match="needs a server that works in rounds"):
        questions.critical_path(run)


def played(folder, *uploads, flops=None):
    """Play a round of clients who differ in what they upload, or compute."""
    folder.mkdir()
    (folder / "scenario.yaml").write_text("name: played\n")
    config = scenario(patient(), len(uploads))
    flops = flops or (10**9,) * len(uploads)
    play_out(config, folder, uploads=uploads, flops=flops, download=12 * MBIT).close()
    tiny_run.manifest(folder).write(folder)
    return load_run(folder)


def test_a_round_ends_at_least_so_much_sooner_without_its_last(tmp_path):
    uploads = 6 * MBIT, 6 * MBIT, 20 * MBIT
    found = questions.critical_path(played(tmp_path / "all", *uploads)).loc[1]
    # 1.5 s at 4 Mbit/s each; the last has 14 Mbit left then, at 12 Mbit/s
    assert found["client_id"] == 2
    assert found["upload_s"] == pytest.approx(1.5 + 14 / 12)
    assert found["server_s"] == 0.75
    assert found["sooner_s"] == pytest.approx(14 / 12)
    fewer = questions.critical_path(played(tmp_path / "fewer", *uploads[:2])).loc[1]
    saved_s = found["round_s"] - fewer["round_s"]
    assert saved_s == pytest.approx(0.5 + 14 / 12)  # the freed share helps as well
    assert saved_s > found["sooner_s"]


def test_without_a_client_the_next_one_is_the_last(run):
    found = questions.without_clients(run)
    columns = ["device", "num_last", "saved_s", *(f"without_{p}" for p in PHASES)]
    assert list(found.columns) == [*columns, "speedup"]
    assert listed(found) == [
        (8, "laptop", 1, 1.0, 1.0, 1.0, 1.0, 4 / 3),
        (7, "phone", 0, 0.0, 0.0, 0.0, 0.0, 1.0),
    ]


def test_without_a_phase_the_longest_of_the_others_counts(run):
    assert listed(questions.without_phases(run)) == [
        ("download", 1.0, 4 / 3),
        ("compute", 1.0, 4 / 3),
        ("upload", 2.0, 2.0),
        ("server", 0.0, 1.0),
    ]


def test_of_one_that_was_alone_all_but_the_servers_part_is_saved(run):
    run._frames["tasks"] = run.tasks.iloc[1:]
    edited(run, "rounds", 0, end_ns=5 * S)
    found = questions.without_clients(run).loc[8]
    assert (found["saved_s"], found["without_upload_s"]) == (4.0, 2.0)
    assert questions.without_phases(run).loc["server", "saved_s"] == 1.0


def test_what_was_under_way_at_the_end_counts_for_no_round(run):
    extra = run.tasks.iloc[1:].assign(round_id=2, task_id=12, end_ns=99 * S)
    run._frames["tasks"] = pd.concat([run.tasks, extra], ignore_index=True)
    assert questions.without_clients(run).loc[8, "saved_s"] == 1.0
    assert questions.without_phases(run)["saved_s"].tolist() == [1, 1, 2, 0]


def test_new_timing_equals_a_new_run_where_no_link_is_shared(tmp_path):
    """Uploads of half a second each, which never meet on the band."""
    flops, mbit = (10**9, 3 * 10**9, 6 * 10**9), 6 * MBIT
    run = played(tmp_path / "all", mbit, mbit, mbit, flops=flops)
    saved = questions.without_clients(run).loc[2]
    whole_s = questions.duration_s(run)

    def shorter(name, *others, flops):
        return whole_s - questions.duration_s(
            played(tmp_path / name, *others, flops=flops)
        )

    assert saved["saved_s"] == shorter("fewer", mbit, mbit, flops=flops[:2])
    swift = shorter("swift", mbit, mbit, mbit, flops=(*flops[:2], 0))
    assert saved["without_compute_s"] == swift
    light = shorter("light", mbit, mbit, 0, flops=flops)
    assert saved["without_upload_s"] == pytest.approx(light)
    idle = shorter("idle", mbit, mbit, mbit, flops=(0, 0, 0))
    assert questions.without_phases(run).loc["compute", "saved_s"] >= idle


def test_a_buffer_has_no_what_if_either(run):
    edited(run, "tasks", 0, staleness=1)
    for ask in (questions.without_clients, questions.without_phases):
        with pytest.raises(InputError, match="works in rounds"):
            ask(run)


def test_idle_time_is_the_rest_of_the_run(run):
    found = questions.idle_time(run)
    assert listed(found) == [
        (7, "phone", 1.0, 1.0, 1.0, 1.0, 0.25),
        (8, "laptop", 1.0, 1.0, 2.0, 0.0, 0.0),
    ]
    run._frames["tasks"] = run.tasks.iloc[:1]
    assert questions.idle_time(run).loc[8, "idle_share"] == 1.0


def test_parts_add_up_in_a_long_run(long_run):
    path = questions.critical_path(long_run)
    parts = path[["download_s", "compute_s", "upload_s", "server_s"]].sum(axis=1)
    assert parts.tolist() == pytest.approx(path["round_s"].tolist())
    assert path["round_s"].sum() == pytest.approx(questions.duration_s(long_run))
    assert (path["sooner_s"] >= 0).all()
    use = questions.band_use(long_run)
    assert (use["used_share"] <= use["busy_share"] + 1e-12).all()
    assert (use["mean_live"] >= 1).all()
    assert questions.participation(long_run)["influence"].sum() == pytest.approx(1)
    joules = long_run.tasks.filter(like="energy_j").sum().sum()
    assert questions.energy(long_run)["total_j"].sum() == pytest.approx(joules)
    assert questions.merge_error(long_run).empty


def test_a_round_with_enough_ends_with_the_last_of_those_who_are_merged(tmp_path):
    config = read_scenario(find_scenario("over-selection"), ("stop={rounds: 5}",))
    run_scenario(config, tmp_path / "run")
    path = questions.critical_path(load_run(tmp_path / "run"))
    assert path["status"].tolist() == ["done"] * 5
    assert path["sooner_s"].tolist() == [0.0] * 5  # the next one might come any time

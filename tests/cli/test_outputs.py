"""What a command writes never takes the place of anything else."""

import gzip
import os
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.runs.manifest import read_manifest
from netsim.runs.run import load_run
from tests.support.command import netsim


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs") / "run"
    scenario = read_scenario(find_scenario("network-only"), ("stop.rounds=1",))
    run_scenario(scenario, folder)
    return folder


TINY = (
    "stop.rounds=1",
    "population.num_clients=2",
    "server.sampling=full",
    "learning.training.local_steps=1",
)
OTHERS = ("manifest.json", "scenario.yaml", "trace/tasks/part-00000.parquet")


@pytest.mark.parametrize("command", ["report", "timeline"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_a_run_is_not_overwritten(command, name, run, capsys):
    before = (run / name).read_bytes()
    assert netsim(command, run, "--out", run / name) == 2
    assert f"--out {run / name} exists and is not what" in capsys.readouterr().err
    assert (run / name).read_bytes() == before


@pytest.mark.parametrize("command", ["report", "timeline"])
def test_a_users_own_file_is_not_overwritten_and_an_earlier_output_is(
    command, run, tmp_path, capsys
):
    mine = {
        "page.html": b"<!doctype html><title>mine</title>",
        "trace.json": b'{"traceEvents":[{"name":"mine"}]}',
        "trace.json.gz": gzip.compress(b'{"traceEvents":[]}'),
        "torn.gz": gzip.compress(b"mine")[:12],
    }
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
        assert netsim(command, run, "--out", tmp_path / name) == 2
        assert (tmp_path / name).read_bytes() == content
    capsys.readouterr()
    for name in ("own", "own.gz"):
        (tmp_path / name).touch()
        for _ in range(2):
            assert netsim(command, run, "--out", tmp_path / name) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("plan", "quickstart", "--out"), "plan.parquet"),
        (("check", "quickstart", "--partition"), "partition.parquet"),
    ],
)
def test_a_users_own_table_is_not_overwritten(words, name, tmp_path, capsys):
    own = pa.table({"mine": [1]})
    pq.write_table(own, tmp_path / name)
    assert netsim(*words, tmp_path) == 2
    assert f"{tmp_path / name} exists and is not what" in capsys.readouterr().err
    assert pq.read_table(tmp_path / name) == own
    (tmp_path / name).unlink()
    for _ in range(2):
        assert netsim(*words, tmp_path) == 0


def test_an_edited_scenario_is_not_believed(run, tmp_path, capsys):
    """By none of the commands that read it from a finished run."""
    edited = tmp_path / "edited"
    subprocess.run(["cp", "-r", run, edited], check=True)
    path = edited / "scenario.yaml"
    path.write_text(path.read_text().replace("rounds: 1", "rounds: 7"))
    for words in (
        ("compare", run, edited),
        ("report", edited),
        ("timeline", edited),
        ("replay", edited),
        ("run", "network-only", "--set", "stop.rounds=2", "--out", edited, "--resume"),
    ):
        assert netsim(*words) == 2, words
        assert f"{path} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("samples", [2**53 + 1, 2**61, 2**63])
def test_samples_that_a_weight_cannot_count_are_refused(samples, capsys):
    words = ("--set", f"learning.samples_per_client={samples}")
    assert netsim("check", "network-only", *words) == 2
    assert "samples_per_client" in capsys.readouterr().err


def test_the_largest_numbers_of_samples_make_weights(tmp_path):
    words = (f"learning.samples_per_client={2**53}", "stop.rounds=1")
    scenario = read_scenario(find_scenario("network-only"), words)
    run_scenario(scenario, tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "trace" / "clients").to_pydict()
    assert table["weight"] == [1 / len(table["weight"])] * len(table["weight"])


@pytest.mark.parametrize("alpha", ["1e308", "1e301", ".inf", "0"])
def test_a_dirichlet_that_cannot_be_drawn_is_refused(alpha, capsys):
    words = ("--set", f"learning.partition={{kind: dirichlet, alpha: {alpha}}}")
    assert netsim("check", "quickstart", *words) == 2
    assert "alpha" in capsys.readouterr().err


def test_hetlora_refuses_weights_that_do_not_sum_to_one(capsys):
    words = (
        *("--set", "learning.aggregation=hetlora"),
        *("--set", "server.sampling={kind: data-weighted, num_expected: 4}"),
    )
    assert netsim("check", "quickstart", *words) == 2
    assert "norm weights" in capsys.readouterr().err


def test_a_broadcast_under_way_at_the_end_is_recorded(tmp_path, capsys):
    """All of its receivers have run empty; with late clients it outlives its round."""
    folder = tmp_path / "run"
    server = (
        "server={kind: deadline, deadline: 500 ms, late: next-round, "
        "announce_time: 1 ms, merge_time: 1 ms, sampling: full}"
    )
    words = (server, "cell.downlink.band=100 kHz", "population.battery={capacity: 1 J}")
    options = [part for word in words for part in ("--set", word)]
    assert netsim("run", "network-only", *options, "--out", folder, "--quiet") == 0
    assert netsim("verify", folder) == 0, capsys.readouterr().out
    tables = load_run(folder)
    first = tables.transfers.iloc[0]
    gone_ns = tables.tasks.end_ns.max()  # the last of its receivers
    assert first.end_ns == gone_ns < tables.manifest.sim_time_ns
    after = tables.bands[tables.bands.start_ns >= gone_ns]
    assert after.num_live.max() == 1  # the next has the band to itself


RUN = ("run", "network-only", "--set", "stop.rounds=1", "--quiet", "--out")


def test_a_link_to_nothing_is_named(tmp_path, capsys):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert netsim(*RUN, link) == 2
    assert f"--out {link} is a link to nothing" in capsys.readouterr().err


def test_a_path_of_any_bytes_is_run_and_verified(tmp_path):
    folder = tmp_path / os.fsdecode(b"run\xff")
    assert netsim(*RUN, folder) == 0
    assert netsim("verify", folder) == 0


def test_a_folder_hides_no_shipped_scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert netsim(*RUN, "network-only") == 0
    assert netsim("check", "network-only") == 0


def test_a_class_that_ends_the_program_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quits.py").write_text(
        "import sys\n"
        "from netsim.policy.full import FullParticipation\n"
        "class Quits(FullParticipation):\n"
        "    kind: str = 'x'\n"
        "    def draw(self, data_weights, rng):\n"
        "        sys.exit(0)\n"
    )
    words = (*RUN[:-1], "--set", "server.sampling=quits:Quits", "--out", "run")
    assert netsim(*words) == 2
    assert "a class of your own ended the program" in capsys.readouterr().err
    assert read_manifest(tmp_path / "run").status == "failed"


def test_the_adapter_is_on_the_disk_before_the_manifest_lists_it(tmp_path, monkeypatch):
    """Every fsync is seen, with the names of what it makes last."""
    synced, sync = [], os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda f: (synced.append(os.readlink(f"/proc/self/fd/{f}")), sync(f)),
    )
    scenario = read_scenario(find_scenario("quickstart"), TINY)
    run_scenario(scenario, tmp_path / "run")
    ends = [
        str(tmp_path / "run" / name)
        for name in ("", "adapter", "adapter/adapter_model.safetensors")
    ]
    first = [synced.index(end.rstrip("/")) for end in ends]
    last = len(synced) - 1 - synced[::-1].index(ends[0].rstrip("/"))
    assert max(first) < last == len(synced) - 1

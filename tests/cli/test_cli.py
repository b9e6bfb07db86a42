"""The command line: promised messages, exit codes and machine-readable lines."""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fl.tasks import Digits
from netsim.cli.running import next_command, show_answer
from netsim.cosim import shipped
from netsim.cosim.reading import read_scenario
from netsim.learner.stop import Target
from netsim.runs.answer import answer
from netsim.runs.manifest import read_manifest
from tests.support import tiny_run
from tests.support.command import netsim
from tests.support.places import ROOT

NETWORK_ONLY = (shipped.FOLDER / "network-only.yaml").read_text()
SMALL = ("--set", "stop.rounds=3", "--quiet")


def changed(before, after):
    assert before in NETWORK_ONLY
    return NETWORK_ONLY.replace(before, after, 1)


MALFORMED = {
    "wrong unit": (
        changed("band: 5 MHz", "band: 5 MB"),
        ":22:11: cell.uplink.band: unknown unit 'MB'",
        "units: Hz, kHz, MHz",
    ),
    "no unit": (changed("band: 5 MHz", "band: 5"), "needs a unit, such as", "got 5"),
    "unknown key": (
        changed("placement:", "placment:"),
        ":14:3: population: unknown key 'placment'",
        "did you mean 'placement'",
    ),
    "negative count": (
        changed("num_clients: 20", "num_clients: -3"),
        ":13:16: population.num_clients: must be at least 1",
        "-3",
    ),
    "q above one": (
        changed("probability: 0.5", "probability: 1.5"),
        "server.sampling.probability",
        "1.5",
    ),
    "q of zero": (
        changed("probability: 0.5", "probability: 0"),
        "server.sampling.probability",
        "0",
    ),
    "text for a number": (
        changed("rounds: 50", "rounds: many"),
        "stop.rounds: must be a whole number",
        "many",
    ),
    "half a round": (changed("rounds: 50", "rounds: 2.5"), "stop.rounds", "2.5"),
    "unknown kind": (
        changed("sharing: processor-sharing", "sharing: procesor-sharing"),
        "cell.uplink.sharing: unknown kind",
        "did you mean 'processor-sharing'",
    ),
    "unknown device": (
        changed("device: jetson-nano-edgeflowertune,", "device: jetson-nanoo,"),
        "got 'jetson-nanoo'",
        "did you mean 'jetson-nano'",
    ),
    "missing section": (
        NETWORK_ONLY[: NETWORK_ONLY.index("learning:")],
        "missing key 'learning'",
        "",
    ),
    "duplicate key": (changed("seed: 1", "seed: 1\nseed: 2"), "seed", "twice"),
    "tab indentation": (changed("  num_clients", "\tnum_clients"), ":13:", "tab"),
    "empty file": ("", "empty", ""),
    "a list": ("- 1\n- 2\n", "mapping", ""),
    "ten megabytes of garbage": ("%@!{" * 2_500_000, "1 MB", ""),
    "binary": (b"\x00\xff\xfe\x80PK\x03\x04" * 9, ":1:2: is not UTF-8", ""),
    "target without learning": (
        changed("rounds: 50", "rounds: 50, target: {level: 0.9}"),
        "stop.target: needs learning",
        "",
    ),
    "no limit": (changed("rounds: 50", "target: {level: 1}"), "needs `rounds`", ""),
    "not a number": (
        changed("announce_time: 10 ms", "announce_time: nan s"),
        "nan",
        "",
    ),
    "too many bits": (changed("upload: 300 kB", "upload: 1e30 B"), "2^63", ""),
    "half a bit": (changed("upload: 300 kB", "upload: 0.3 bit"), "whole number", ""),
    "wide range": (changed("radius: 250 m", "radius: 5 m"), "radius must exceed", ""),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_scenario_gets_its_message_and_exit_code_2(name, tmp_path, capsys):
    text, *expected = MALFORMED[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert netsim("run", path, "--out", tmp_path / "run") == 2
    printed = capsys.readouterr()
    assert "bad.yaml" in printed.err
    assert "Traceback" not in printed.err
    for part in expected:
        assert part in printed.err
    assert printed.out == ""
    assert not (tmp_path / "run").exists()


REFUSED = {
    "a planning rule on the downlink": (
        ["cell.downlink.mode=unicast", "cell.downlink.sharing=equal-finish"],
        "plans uploads at a round's start",
    ),
    "a rule that a broadcast ignores": (
        ["cell.downlink.sharing=processor-sharing"],
        "a broadcast has no `sharing`",
    ),
    "more drawn than there are": (
        ["server.sampling={kind: uniform, num_drawn: 100}"],
        "must not exceed the 20 clients, got 100",
    ),
    "a deadline within the announcement": (
        [
            "server={kind: deadline, deadline: 5 ms, announce_time: 10 ms, "
            "merge_time: 0 s, sampling: full}"
        ],
        "deadline must exceed announce_time",
    ),
    "nobody can be heard": (["population.transmit_power=-99 dBm"], "over 12 days"),
    "an absurd power": (["population.transmit_power=300 dBm"], "must be at most 100"),
    "rounds without end": (
        [
            "stop={time: 10 s}",
            "learning={kind: none, download: 0 B, upload: 0 B, compute: 0 FLOP}",
            "server={kind: synchronous, sampling: full, announce_time: 0 s, "
            "merge_time: 0 s}",
        ],
        "for no round takes simulated time",
    ),
    "wrong number of places": (
        ["population.placement={kind: list, distances: [50 m, 60 m]}"],
        "2 distances for 20 clients",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_with_its_reason(name, tmp_path, capsys):
    overrides, reason = REFUSED[name]
    options = [option for value in overrides for option in ("--set", value)]
    assert netsim("run", "network-only", *options, "--out", tmp_path / "run") == 2
    assert reason in capsys.readouterr().err


def test_an_impossible_output_folder_is_one_message(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    assert netsim("run", "network-only", *SMALL, "--out", out) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_an_unfinished_run_is_not_called_sound(tmp_path, capsys):
    folder = tmp_path / "run"
    assert netsim("run", "network-only", *SMALL, "--out", folder) == 0
    read_manifest(folder).model_copy(update={"status": "running"}).write(folder)
    assert netsim("verify", folder) == 1
    assert "is running: what is there is intact" in capsys.readouterr().out


def test_all_errors_come_at_once_in_order(tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(changed("seed: 1", "sed: 1").replace("5 MHz\n", "5\n"))
    assert netsim("check", path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{path}:5:1: unknown key 'sed'")
    assert any("cell.uplink.band" in line for line in lines)


def test_a_device_too_small_is_refused_before_anything_is_written(tmp_path, capsys):
    folder = tmp_path / "run"
    memory = ("--set", "learning.memory=5 GB")
    assert netsim("run", "network-only", *memory, "--out", folder) == 2
    assert "jetson-nano-edgeflowertune has 4 GB of memory" in capsys.readouterr().err
    assert not folder.exists()


def test_a_missing_file_names_its_neighbour(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(NETWORK_ONLY)
    assert netsim("check", tmp_path / "mime.yaml") == 2
    assert "mine.yaml" in capsys.readouterr().err


def test_an_unknown_shipped_name_lists_the_choices(capsys):
    assert netsim("run", "quikstart") == 2
    assert "did you mean 'quickstart'" in capsys.readouterr().err


def test_a_run_ends_with_one_json_object(tmp_path, capsys):
    folder = tmp_path / "run"
    assert netsim("run", "network-only", *SMALL, "--out", folder, "--json") == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["run"] == str(folder)
    assert report["rounds"] == 3
    assert report["status"] == "complete"
    assert len(report["digest"]) == 64
    assert report["target"] is report["met"] is report["best"] is None
    assert report["next"] == f"netsim report {folder}"
    assert netsim("compare", folder) == 0
    assert "to the end" in capsys.readouterr().out


def test_a_run_that_misses_its_target_says_how_far_it_came(tmp_path):
    folder = tiny_run.write_run(tmp_path / "my run")
    missed = read_scenario(shipped.find_scenario("wide-fleet"))
    assert next_command(missed, answer(folder, Target(level=0.95)), folder) == (
        f"netsim run '{folder}/scenario.yaml' --out '{folder}' --resume "
        "--set stop.rounds=800"
    )
    met = answer(folder, Target(level=0.9))
    assert next_command(missed, met, folder) == f"netsim report '{folder}'"
    console = Console(file=io.StringIO())
    show_answer(console, missed, met, folder)
    first, last = console.file.getvalue().splitlines()
    assert first == str(met)
    assert last == f"next   netsim report '{folder}'"


def test_an_occupied_folder_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    assert netsim("run", "network-only", *SMALL, "--out", tmp_path) == 2
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_resolved_scenario_is_its_own_fixed_point(tmp_path, capsys):
    assert netsim("check", "network-only") == 0
    once = capsys.readouterr().out
    (tmp_path / "resolved.yaml").write_text(once)
    assert netsim("check", tmp_path / "resolved.yaml") == 0
    assert capsys.readouterr().out == once


def test_replay_reproduces_the_digest_and_names_a_changed_row(tmp_path, capsys):
    folder = tmp_path / "run"
    assert netsim("run", "network-only", *SMALL, "--out", folder) == 0
    assert netsim("replay", folder) == 0
    assert "same digest" in capsys.readouterr().out
    scenario = folder / "scenario.yaml"
    scenario.write_text(scenario.read_text().replace("band: 5 MHz", "band: 4 MHz"))
    assert netsim("replay", folder) == 2
    assert f"{scenario} is damaged" in capsys.readouterr().err
    digest = hashlib.sha256(scenario.read_bytes()).hexdigest()
    read_manifest(folder).model_copy(update={"scenario_digest": digest}).write(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert netsim("replay", folder) == 1
    assert "does not replay: clients: row 0, mean_snr_db" in capsys.readouterr().out
    assert json.loads((folder / "manifest.json").read_text()) == manifest


def test_verify_says_where_a_byte_was_flipped(tmp_path, capsys):
    folder = tmp_path / "run"
    assert netsim("run", "network-only", *SMALL, "--out", folder) == 0
    assert netsim("verify", folder) == 0
    part = folder / "trace" / "segments" / "part-00000.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    capsys.readouterr()
    assert netsim("verify", folder) == 1
    assert "trace/segments/part-00000.parquet" in capsys.readouterr().out


def test_list_and_schema_answer(capsys):
    assert netsim("list") == 0
    assert "flora-na" in capsys.readouterr().out
    assert netsim("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert "cell" in schema["properties"]


def test_the_committed_schema_is_current(capsys):
    assert netsim("schema") == 0
    committed = (shipped.FOLDER / "scenario.schema.json").read_text()
    assert capsys.readouterr().out == committed, "run `make schema`"


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_scenario_is_valid_and_says_what_it_shows(name, capsys):
    assert netsim("check", name) == 0
    assert shipped.headline(name)
    assert "scenario.schema.json" in (shipped.FOLDER / f"{name}.yaml").read_text()


LIBRARIES = {"torch", "peft", "transformers", "pandas"}
TRAINING = {"fl.federation.federation", "multiprocessing"}


@pytest.mark.parametrize(
    ("command", "heavy", "most"),
    [
        ("--help", {*LIBRARIES, *TRAINING, "numpy", "pydantic", "yaml"}, 360),
        ("check network-only", {*LIBRARIES, *TRAINING, "numpy.ma", "pyarrow"}, 730),
        ("check quickstart", {*LIBRARIES, "pyarrow"}, 775),
        ("list", {*LIBRARIES, *TRAINING, "pyarrow"}, 760),
        (
            "run network-only --quiet --set stop.rounds=1",
            {*LIBRARIES, *TRAINING, "numpy.ma", "pyarrow.compute"},
            815,
        ),
    ],
)
def test_a_command_imports_no_more_than_it_needs(command, heavy, most, tmp_path):
    code = (
        f"import sys; sys.argv = ['netsim', *{command.split()!r}]\n"
        "from netsim.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    imported = set(done.stderr.split())
    assert not heavy & imported
    assert len(imported) <= most


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on_and_does(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", "from netsim.cli import main; main()"]
    command += ["run", "network-only", "--set", "stop.rounds=200000", "--out", folder]
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True
    )
    while not Path(folder, "manifest.json").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(2)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in printed
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "interrupted"


def test_the_store_is_shown_and_pruned(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fl.memory.store.default_folder", lambda: tmp_path / "store")
    entry = tmp_path / "store" / "ab" / "cdef"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"x" * 3000)
    assert netsim("store") == 0
    assert "size     3 kB" in capsys.readouterr().out
    assert netsim("store", "--limit", "1 potato") == 2
    assert netsim("store", "--clear") == 0
    assert not entry.exists()
    assert "entries  0" in capsys.readouterr().out


def test_a_run_from_python_comes_back_loaded(tmp_path, monkeypatch):
    import netsim as package

    monkeypatch.chdir(tmp_path)
    run = package.run("network-only", "stop.rounds=2", "cell.uplink.band=1 MHz")
    assert len(run.rounds) == 2
    assert run.folder.parent == Path("results/runs")
    assert package.run("network-only", "stop.rounds=1", out=tmp_path / "x").tasks.size


@pytest.mark.slow
def test_a_run_that_fails_midway_says_why_and_keeps_what_it_wrote(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    wild = "learning.training={learning_rate: 1e300, optim: sgd, local_steps: 2}"
    stop = ("--set", "learning.on_divergence=stop")
    assert netsim("run", "quickstart", "--set", wild, *stop, *SMALL) == 2
    said = capsys.readouterr().err
    assert said.startswith("learning.training: client ")
    (manifest,) = tmp_path.glob("results/runs/*/manifest.json")
    assert json.loads(manifest.read_text())["status"] == "failed"
    mute = "--set=population.transmit_power=-100 dBm"
    assert netsim("run", "network-only", mute) == 2  # refused before it wrote
    assert len(list(tmp_path.glob("results/runs/*"))) == 1


def test_check_writes_who_holds_which_labels(tmp_path, capsys):
    folder = tmp_path / "deep" / "partition"
    assert netsim("check", "quickstart", "--partition", str(folder)) == 0
    held = pd.read_parquet(folder / "partition.parquet")
    by_client = held.groupby("client_id").num_samples.sum()
    labels = Digits().labels("train")
    assert by_client.sum() == len(labels)
    assert (
        held.groupby("label").num_samples.sum().tolist() == np.bincount(labels).tolist()
    )
    assert len(by_client) == 20
    assert "partition.parquet" in capsys.readouterr().out


def test_nothing_is_divided_without_learning(tmp_path, capsys):
    folder = str(tmp_path / "p")
    assert netsim("check", "network-only", "--partition", folder) == 2
    assert "nothing is divided" in capsys.readouterr().err

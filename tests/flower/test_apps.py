"""Flower apps of our own on the simulated clock, next to plain loops over their
clients."""

import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from fl.streams import torch_threads
from netsim import load_run
from netsim.cosim.reading import scenario_of
from netsim.cosim.run import run_scenario
from netsim.errors import InputError
from netsim.verify import verify
from tests.support.flower_apps import APPS, TIMES, app_settings, play

flwr = pytest.importorskip("flwr", reason="needs Flower, the extra `flower`")

TRUTH = np.array([1.0, -2.0, 0.5, 3.0])
NUM = 3


def fitted(weights, client_id):
    """Return what a client of the app `numbers` makes of weights."""
    rng = np.random.default_rng(client_id)
    x = rng.normal(size=(20 + client_id, 4))
    y = x @ TRUTH + 0.1 * rng.normal(size=len(x))
    for _ in range(5):
        weights = weights - 0.05 * x.T @ (x @ weights - y) / len(y)
    return weights


def averaged(weights, clients=range(NUM)):
    clients = list(clients)
    shares = np.array([20.0 + one for one in clients])
    return sum(
        share * fitted(weights, one)
        for share, one in zip(shares / shares.sum(), clients, strict=True)
    )


def adam(weights, moments, step):
    """Return FedAdam's next weights, by its paper and Flower's defaults."""
    delta = averaged(weights) - weights
    first = 0.9 * moments[0] + 0.1 * delta
    second = 0.99 * moments[1] + 0.01 * delta**2
    rate = 0.1 * math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
    return weights + rate * first / (np.sqrt(second) + 1e-3), (first, second)


def expected(strategy):
    weights, moments = np.zeros(4), (np.zeros(4), np.zeros(4))
    for step in (1, 2):
        if strategy == "FedAdam":
            weights, moments = adam(weights, moments, step + 1)
        else:
            weights = averaged(weights) * (2 if strategy == "Doubled" else 1)
    return weights


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flower") / "run"
    play(folder, "numbers", *TIMES)
    return load_run(folder)


def final(folder):
    return load_file(folder / "adapter" / "arrays.safetensors")


@pytest.mark.parametrize("strategy", ["FedAvg", "FedProx", "FedAdam", "Doubled"])
def test_weights_are_those_of_a_plain_loop(strategy, tmp_path):
    config = [f"strategy='{strategy}' fraction-evaluate=0.0"]
    play(tmp_path / "run", "numbers", *TIMES, config=config)
    found = final(tmp_path / "run")["0"]
    assert np.allclose(found, expected(strategy), rtol=1e-12, atol=1e-12)


def test_a_trace_is_sound_and_has_the_rounds_of_the_app(run):
    assert verify(run.folder) == []
    assert run.rounds[["num_sampled", "num_merged"]].to_numpy().tolist() == [[3, 3]] * 4
    assert run.manifest.status == "complete"
    assert run.manifest.steps_trained == 12
    stop = run.events.iloc[-1]
    assert (stop.kind, stop.detail) == ("stop", "app")


def test_messages_have_the_bytes_of_flowers_own_serialisation(run):
    from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
    from flwr.common.serde import message_to_proto
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 2**61, 1, 1
    records = {
        "arrays": ArrayRecord([np.zeros(4)]),
        "config": ConfigRecord({"server-round": 1}),
    }
    message = Message(RecordDict(records), dst_node_id=2**61, message_type="train")
    message.metadata.__dict__["_message_id"] = "x" * 36
    number = message_to_proto(message).ByteSize()
    sent = run.tasks["download_bits"].iloc[0] / 8
    assert abs(sent - number) <= 3  # numbers of the run and of nodes vary in length
    content = message_to_proto(message).content.ByteSize()
    broadcast = run.transfers[run.transfers["task_id"].isna()]["bits"].iloc[0] / 8
    assert broadcast == content


def test_declared_times_are_those_of_the_device_model(run):
    first = run.tasks.iloc[0]
    spans_ns = run.tasks["compute_end_ns"] - run.tasks["compute_start_ns"]
    trained = spans_ns[run.tasks["round_id"] == 1]
    ids = run.tasks["client_id"][run.tasks["round_id"] == 1]
    jitter = trained / (20 + ids) / 1e6  # 1 ms for each example
    assert ((jitter > 0.6) & (jitter < 1.6)).all()  # sigma is 0.1
    assert first.compute_energy_j > 0


@pytest.mark.parametrize(
    ("name", "split", "meant"),
    [
        ("train_loss", "train", "loss"),
        ("train_loss", "test", "train_loss"),
        ("Eval-Acc", "clients", "accuracy"),
    ],
)
def test_a_metric_is_known_by_its_usual_name(name, split, meant):
    from fl.flower.reported import usual_name

    assert usual_name(name, split) == meant


def test_metrics_of_strategy_and_server_land_in_evals(run):
    evals = run.evals
    assert sorted(evals["split"].astype(str)) == ["clients"] * 2 + ["test"] * 3
    server = evals[evals["split"] == "test"]
    weights = averaged(np.zeros(4))
    assert server["accuracy"].iloc[0] == 1.0
    assert server["accuracy"].iloc[1] == pytest.approx(1 / (1 + abs(weights).sum()))
    assert server["time_ns"].tolist()[1:] == run.rounds["end_ns"].tolist()[1::2]
    assert run.time_to("accuracy", 0.9, split="test").value == 0


@pytest.mark.slow
def test_a_run_repeats_with_any_number_of_workers_and_from_memory(run, tmp_path):
    before = run.manifest.digest
    fresh = play(tmp_path / "two", "numbers", *TIMES, workers=2)
    assert fresh.digest == before
    for folder, computed in (("first", 12), ("second", 0)):
        again = play(tmp_path / folder, "numbers", *TIMES, reuse=True)
        assert (again.digest, again.steps_trained) == (before, computed)


def test_evaluation_alone_changes_no_weights(tmp_path):
    config = ["fraction-train=0.0"]
    found = play(tmp_path / "run", "numbers", *TIMES, config=config)
    assert (found.rounds, found.steps_trained) == (2, 6)
    assert verify(tmp_path / "run") == []


def test_a_time_out_is_simulated_time_and_late_clients_go_on(tmp_path):
    times = "learning.compute={train: {per_example: 100 ms}, evaluate: {}}"
    config = ["timeout=2.05 fraction-evaluate=0.0"]
    play(tmp_path / "run", "numbers", times, config=config, num_clients=6)
    run = load_run(tmp_path / "run")
    assert verify(run.folder) == []
    assert run.rounds["end_ns"].tolist() == [2_050_000_000, 4_100_000_000]
    first = run.tasks[run.tasks["round_id"] == 1]
    assert set(first["status"]) == {"done", "unmerged"}
    late = first[first["status"] == "unmerged"]
    assert (late["end_ns"] > 2_050_000_000).all()


def test_sampling_is_a_function_of_the_seed(tmp_path):
    config = ["fraction-train=0.4 rounds=3 fraction-evaluate=0.0"]
    drawn = []
    for seed in (1, 1, 2):
        folder = tmp_path / str(len(drawn))
        play(folder, "numbers", *TIMES, f"seed={seed}", config=config, num_clients=8)
        tasks = load_run(folder).tasks
        drawn.append(tasks[["round_id", "client_id"]].sort_values("round_id").to_csv())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("lora", [False, True])
def test_the_work_of_torch_is_counted_as_it_is_done(lora, tmp_path):
    config = [f"lora={str(lora).lower()}"]
    play(tmp_path / "run", "torch", config=config)
    run = load_run(tmp_path / "run")
    assert verify(run.folder) == []
    train = run.tasks[run.tasks["round_id"] == 1]
    first, last = 8 * 16 * 32, 8 * 32 * 2  # multiply-adds of a forward pass
    flop = 2 * (first + last)
    if lora:  # r = 2; no gradient of the input, nor of frozen weights
        pair = 2 * (8 * 16 * 2 + 8 * 2 * 32)
        step = flop + pair + 2 * last + 2 * (8 * 16 * 2 + 2 * 8 * 2 * 32)
    else:
        step = flop + 2 * (first + 2 * last)
    assert set(train["compute_flop"]) == {3 * step}
    assert (train["compute_end_ns"] > train["compute_start_ns"]).all()


def test_torch_has_one_thread_whatever_the_machine_has(tmp_path):
    app = tmp_path / "torch"
    shutil.copytree(APPS / "torch", app)
    number = "float(torch.get_num_threads())"
    accuracy = "float((logits.argmax(1) == y).float().mean())"
    edit(app / "torchapp/client.py", accuracy, number)
    asked = "import torch\n\n    assert torch.get_num_threads() == 1\n    arrays ="
    edit(app / "torchapp/server.py", "arrays =", asked)
    with torch_threads(2):
        play(tmp_path / "run", app)
    assert set(load_run(tmp_path / "run").evals["accuracy"]) == {1.0}


def test_an_app_without_known_work_is_refused(tmp_path):
    message = r"message 'train' a client computes nothing.*compute: {train"
    with pytest.raises(InputError, match=message):
        play(tmp_path / "run", "numbers")


def test_an_error_of_a_client_is_a_reply_as_in_flower(tmp_path):
    times = "learning.compute={train: {per_message: 1 s, per_example: 1 ms}}"
    config = ["strategy='FedAvg' fraction-evaluate=0.0"]
    edited = tmp_path / "numbers"
    copy(edited, "numberapp/client.py", "counts = context", "1 / 0; counts = context")
    play(tmp_path / "run", edited, times, config=config)
    tasks = load_run(tmp_path / "run").tasks
    assert set(tasks["status"]) == {"done"}
    assert not (tmp_path / "run" / "adapter").exists()


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("client", "rng =", "import time; time.sleep(1); rng =", "client sleeps"),
        ("client", "app =", "from time import sleep; sleep(1); app =", "client sleeps"),
        ("client", 'examples": examples', 'examples": -examples', "least 0 .got -2"),
        ("server", "config =", "config = 1 / 0 #", "ZeroDivisionError.*server.py, l"),
        (
            "server",
            "config =",
            "import threading; threading.Thread(target=print).start(); config =",
            "server starts a thread",
        ),
    ],
)
def test_what_cannot_be_timed_is_refused_by_name(
    file, before, after, message, tmp_path
):
    copy(tmp_path / "numbers", f"numberapp/{file}.py", before, after)
    with pytest.raises(InputError, match=message):
        play(tmp_path / "run", tmp_path / "numbers", *TIMES)


OLDER = """from flwr.server import ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg


def server_fn(context):
    start = ndarrays_to_parameters([np.zeros(4)])
    strategy = FedAvg(initial_parameters=start, evaluate_fn=lambda n, w, c: (n, {}))
    return ServerAppComponents(config=ServerConfig(num_rounds=2), strategy=strategy)


app = ServerApp(server_fn=server_fn)


def unused(grid, context):"""
OLDER_CLIENT = """from flwr.client import NumPyClient


class Client(NumPyClient):
    def __init__(self, client_id):
        self.id = client_id

    def fit(self, parameters, config):
        return [fitted(parameters[0], self.id)], 20 + self.id, {}

    def evaluate(self, parameters, config):
        return 0.25, 20 + self.id, {"accuracy": 0.5}


app = ClientApp(lambda context: Client(context.node_config["partition-id"]).to_client())


def train(message, context):"""


CLOCK = """from time import time

import numpy as np"""


def test_an_answer_that_holds_the_time_is_reused_at_that_time_only(tmp_path):
    app, slower = tmp_path / "numbers", "learning.compute.train.per_example=3 ms"
    copy(app, "numberapp/client.py", "import numpy as np", CLOCK)
    edit(app / "numberapp/client.py", "float(loss)", "time()")
    first = play(tmp_path / "0", app, *TIMES, reuse=True)
    again = play(tmp_path / "1", app, *TIMES, reuse=True)
    assert (again.steps_reused, again.digest) == (12, first.digest)
    reused = play(tmp_path / "2", app, *TIMES, slower, reuse=True)
    fresh = play(tmp_path / "3", app, *TIMES, slower)
    assert (reused.steps_reused, reused.digest) == (3, fresh.digest)


PULLED = """    start = ArrayRecord([np.zeros(4)])
    ids = list(grid.push_messages(
        [
            Message(RecordDict({"arrays": start}), n, "train", ttl=t)
            for n, t in zip(grid.get_node_ids(), (0.01, 100.0, 0.01))
        ]
    ))
    time.sleep(50)
    found = [one.has_error() for one in grid.pull_messages(ids)]
    assert sorted(found) == [False, True, True], found
    assert [one.has_error() for one in grid.pull_messages(ids[:1])] == [True]
    list(grid.pull_messages(ids))
"""


def test_what_is_pulled_after_its_time_to_live_is_an_error(tmp_path):
    app = tmp_path / "numbers"
    copy(app, "numberapp/server.py", "    config =", f"{PULLED}    config =")
    edit(app / "numberapp/server.py", "import numpy", "import time\n\nimport numpy")
    edit(app / "numberapp/server.py", "app import", "app import Message, RecordDict,")
    with pytest.raises(InputError, match="was not sent, or was pulled before"):
        play(tmp_path / "run", app, *TIMES)


def test_the_older_interface_runs_in_one_thread(tmp_path):
    app = tmp_path / "numbers"
    copy(app, "numberapp/server.py", "@app.main()\ndef main(grid, context):", OLDER)
    edit(
        app / "numberapp/server.py",
        "from flwr.app",
        "from flwr.common import ndarrays_to_parameters\nfrom flwr.app",
    )
    edit(
        app / "numberapp/client.py",
        "@app.train()\ndef train(message, context):",
        OLDER_CLIENT,
    )
    edit(app / "numberapp/client.py", "@app.evaluate()\n", "")
    play(tmp_path / "run", app, *TIMES)
    run = load_run(tmp_path / "run")
    assert verify(run.folder) == []
    assert run.rounds["num_merged"].tolist() == [3] * 4
    assert np.allclose(final(run.folder)["0"], expected("FedAvg"), rtol=1e-12)
    server = run.evals[run.evals["split"] == "test"]
    assert server["loss"].tolist() == [0.0, 1.0, 2.0]
    clients = run.evals[run.evals["split"] == "clients"]
    assert clients["loss"].tolist() == [0.25, 0.25]


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


ALIKE = (
    "cell.downlink.mode=unicast",
    "cell.downlink.sharing=processor-sharing",
    "population.compute_jitter=0",
    "population.devices=[{device: raspberry-pi-5-timm}]",
)


def test_rounds_take_the_time_of_a_scenario_with_the_same_sizes_and_work(tmp_path):
    times = "learning.compute={train: {per_message: 1 s}}"
    config = ["fraction-evaluate=0.0"]
    play(tmp_path / "app", "numbers", times, *ALIKE, config=config)
    app = load_run(tmp_path / "app")
    first = app.tasks[app.tasks["round_id"] == 1].sort_values("client_id")
    device = app_settings("numbers", *ALIKE).population.devices[0].device
    sizes = {
        "download": [f"{bits} bit" for bits in first["download_bits"]],
        "upload": [f"{bits} bit" for bits in first["upload_bits"]],
        "compute": f"{(1 - device.fixed_time_s) * device.flop_per_s:.0f} FLOP",
    }
    found = scenario_of(
        "network-only",
        [
            "population.num_clients=3",
            *ALIKE,
            {"learning": {"kind": "none", **sizes}, "stop": {"rounds": 2}},
            "server={kind: synchronous, sampling: full, announce_time: 0 s, "
            "merge_time: 0 s}",
        ],
    )
    run_scenario(found, tmp_path / "none")
    plain = load_run(tmp_path / "none")
    assert np.abs(app.rounds["end_ns"] - plain.rounds["end_ns"]).max() <= 4
    columns = ["client_id", "direction", "bits"]
    assert app.transfers[columns].equals(plain.transfers[columns])


def copy(folder, file, before, after):
    """Copy the app `numbers`, with an edit."""
    for path in sorted((APPS / "numbers").rglob("*.*")):
        if path.is_file() and path.suffix in (".py", ".toml"):
            place = folder / path.relative_to(APPS / "numbers")
            place.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text()
            if place.relative_to(folder).as_posix() == file:
                assert before in text
                text = text.replace(before, after, 1)
            place.write_text(text)


def test_an_app_needs_its_server_and_a_server_its_app():
    with pytest.raises(InputError, match="an app has a server of its own"):
        app_settings(
            "numbers",
            "server={kind: synchronous, sampling: full, "
            "announce_time: 0 s, merge_time: 0 s}",
        )


KILLED = """import os
    if counts["calls"] == 2 and os.path.exists(os.environ["KILL"]):
        os.unlink(os.environ["KILL"])
        os.kill(os.getpid(), 9)
    arrays ="""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_digest(tmp_path, monkeypatch):
    app, folder, kill = tmp_path / "numbers", tmp_path / "run", tmp_path / "kill"
    copy(app, "numberapp/client.py", "arrays =", KILLED)
    monkeypatch.setenv("KILL", str(kill))
    kill.touch()
    line = ["flower", str(app), "--set", *TIMES, "--set", "population.num_clients=3"]
    line += ["--out", str(folder), "--quiet"]
    command = [sys.executable, "-W", "ignore", "-m", "netsim", *line]
    assert subprocess.run(command, check=False).returncode == -9
    found = app_settings(app, *TIMES)
    resumed = run_scenario(found, folder, resume=True)
    assert (resumed.steps_trained, resumed.steps_reused) == (6, 6)  # two rounds of four
    whole = run_scenario(found, tmp_path / "whole", reuse=False)
    assert resumed.digest == whole.digest


def test_a_server_that_does_not_repeat_is_not_gone_on_with(tmp_path):
    app, folder = tmp_path / "numbers", tmp_path / "run"
    drawn = "ArrayRecord([np.array([float.fromhex(os.urandom(4).hex())] * 4)])"
    copy(app, "numberapp/server.py", "ArrayRecord([np.zeros(4)])", drawn)
    path = app / "numberapp" / "server.py"
    path.write_text(
        path.read_text().replace("import numpy", "import os\n\nimport numpy")
    )
    found = app_settings(app, *TIMES)

    def interrupt(progress):
        if progress.round_id == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_scenario(found, folder, watch=interrupt)
    with pytest.raises(InputError, match="server sends other messages than the run"):
        run_scenario(found, folder, resume=True)

"""Plays apps of Flower's own repository in Flower's simulation and on netsim's clock.

A folder of apps is given, such as ``examples`` of github.com/flwrlabs/flower; nothing
of it is changed or kept. Data sets of the hub are replaced by small random ones of the
same names and columns (``DATA``), so no figure is about learning. For each app: the
largest difference of the final arrays between the two, and between two runs of Flower's
own, relative to the largest number; wall-clock seconds and peak memory of both;
simulated seconds; what the audit of the trace finds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

FEATURES = ("petal_length", "petal_width", "sepal_length", "sepal_width")
COLUMNS = ("SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm")
TIMES = "{per_message: 1 s}"  # where torch counts nothing


def numbers(names, rows, rng, **labels):
    return {name: rng.uniform(2, 9, rows).tolist() for name in names} | {
        name: rng.integers(0, n, rows).tolist() for name, n in labels.items()
    }


DATA = {
    "hitorilabs/iris": lambda rng: numbers(FEATURES, 150, rng, species=3),
    "scikit-learn/iris": lambda rng: numbers(COLUMNS, 150, rng, Species=3),
    "scikit-learn/adult-census-income": lambda rng: numbers(
        [f"number{n}" for n in range(14)], 600, rng, income=2
    ),
    "jxie/higgs": lambda rng: {
        "inputs": rng.normal(size=(600, 28)).tolist(),
        "label": rng.integers(0, 2, 600).tolist(),
    },
}


def fill(cache):
    """Prepare data sets as ``datasets`` keeps those that it has loaded."""
    from datasets import Dataset, load_dataset_builder

    for name, make in DATA.items():
        folder = cache / name.replace("/", "___") / "default" / "0.0.0" / "local"
        if folder.exists():
            continue
        table = Dataset.from_dict(make(np.random.default_rng(0)))
        table.to_parquet(str(cache / "draft.parquet"))
        builder = load_dataset_builder(
            "parquet",
            data_files={"train": str(cache / "draft.parquet")},
            cache_dir=str(cache / "made"),
        )
        builder.download_and_prepare()
        whole = Path(builder.cache_dir)
        folder.mkdir(parents=True)
        short = name.split("/")[1]
        for file in whole.iterdir():
            file.rename(folder / file.name.replace("parquet-", f"{short}-"))
        info = json.loads((folder / "dataset_info.json").read_text())
        info |= {"dataset_name": short, "config_name": "default"}
        (folder / "dataset_info.json").write_text(json.dumps(info))


def in_flower(app, num_clients, out):
    """Play an app in Flower's simulation, and keep its final arrays."""
    from flwr.app import Context, RecordDict
    from flwr.common.config import get_fused_config_from_dir
    from flwr.simulation.run_simulation import _run_simulation
    from flwr.supercore.constant import NOOP_FEDERATION_ID
    from flwr.supercore.run import Run
    from flwr.supercore.task_identity import TaskIdentity
    from flwr.supercore.telemetry import EventType

    from fl.flower.project import Project
    from fl.flower.reported import Reports

    project, reports = Project.read(app), Reports()
    run = Run.create_empty(run_id=7)
    run.primary_task_id, run.federation_id = 1, NOOP_FEDERATION_ID
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 1
    config = get_fused_config_from_dir(app, {})
    with reports.heard():
        _run_simulation(
            num_supernodes=num_clients,
            exit_event=EventType.PYTHON_API_RUN_SIMULATION_LEAVE,
            client_app_attr=project.client,
            server_app_attr=project.server,
            server_app_context=Context(7, 1, {}, RecordDict(), config),
            backend_config={
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                "init_args": {"num_cpus": 2, "include_dashboard": False},
            },
            app_dir=str(app),
            run=run,
            is_app=True,
        )
    arrays = {} if reports.arrays is None else dict(reports.arrays.items())
    np.savez(out, **{name: array.numpy() for name, array in arrays.items()})
    return {}


def in_netsim(app, num_clients, out):
    """Play an app on the simulated clock, keep its arrays, and audit its trace."""
    from safetensors.numpy import load_file

    from netsim.cosim.commands.flower_app import app_scenario
    from netsim.cosim.run import run_scenario
    from netsim.errors import InputError
    from netsim.scenario import UserCode
    from netsim.verify import verify

    code = UserCode(allows_given=True)
    settings = [f"population.num_clients={num_clients}"]
    both = f"learning.compute={{train: {TIMES}, evaluate: {TIMES}, query: {TIMES}}}"
    for more in ([], [both]):
        folder = out.with_name(f"{out.stem}{len(more)}")
        try:
            scenario = app_scenario(app, "network-only", [], settings + more, code)
            manifest = run_scenario(scenario, folder, reuse=False)
            break
        except InputError as error:
            if more or "torch counts" not in str(error):
                raise
    path = folder / "adapter" / "arrays.safetensors"
    np.savez(out, **(load_file(path) if path.exists() else {}))
    return {"simulated": manifest.sim_time_ns / 1e9, "wrong": len(verify(folder))}


def play(app, how, num_clients, out, cache):
    """Play an app in a process of its own, and return what it prints last."""
    words = [app, "--play", how, "--clients", num_clients, "--out", out]
    environment = {
        **os.environ,
        "HF_DATASETS_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
    }
    command = [sys.executable, "-m", "tests.benchmarks.flower_apps", *map(str, words)]
    start_s = time.time()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        lines = [one for one in done.stderr.splitlines() if one.strip()]
        return {"failed": lines[-1] if lines else str(done.returncode)}
    return json.loads(done.stdout.splitlines()[-1]) | {"wall": time.time() - start_s}


def difference(one, other):
    """Return how far two runs' final arrays are apart; None without any."""
    with np.load(one) as left, np.load(other) as right:
        if not left.files:
            return None
        scale = max(np.abs(left[name].astype(float)).max() for name in left.files)
        return max(
            np.abs(left[name].astype(float) - right[name].astype(float)).max()
            for name in left.files
        ) / max(scale, 1e-300)


def row(app, num_clients, work):
    """Return the line of one app."""
    cache = work / "data"
    found = {}
    for name, how in (("a", "flower"), ("b", "flower"), ("c", "netsim")):
        out = work / f"{app.name}-{name}.npz"
        found[name] = play(app, how, num_clients, out, cache)
        if "failed" in found[name]:
            return f"{app.name:28} {how} failed: {found[name]['failed'][:120]}"
    paths = {name: work / f"{app.name}-{name}.npz" for name in found}
    apart = difference(paths["a"], paths["c"]), difference(paths["a"], paths["b"])
    texts = ["none" if one is None else f"{one:.1e}" for one in apart]
    first, ours = found["a"], found["c"]
    return (
        f"{app.name:28} {texts[0]:>8} {texts[1]:>8} {first['wall']:7.1f} "
        f"{ours['wall']:7.1f} {first['peak']:7.0f} {ours['peak']:7.0f} "
        f"{ours['simulated']:9.2f} {ours['wrong']:5}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of apps, or with --play one app")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--play", choices=("flower", "netsim"))
    given = parser.parse_args()
    if given.play:
        how = {"flower": in_flower, "netsim": in_netsim}[given.play]
        app, out = given.folder.resolve(), given.out.resolve()
        os.chdir(out.parent)  # apps save models where they run
        found = how(app, given.clients, out)
        usage = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        peak = max(resource.getrusage(one).ru_maxrss for one in usage) / 1024
        print("\n" + json.dumps({**found, "peak": peak}))
        return
    work = given.out.resolve()
    (work / "data").mkdir(parents=True, exist_ok=True)
    fill(work / "data")
    print(
        f"{'app':28} {'apart':>8} {'spread':>8} {'Flower s':>7} {'ours s':>7} "
        f"{'MB':>7} {'MB':>7} {'simulated':>9} wrong"
    )
    for app in sorted(given.folder.iterdir()):
        if (app / "pyproject.toml").exists() and app.name in (given.only or [app.name]):
            print(row(app, given.clients, work), flush=True)


if __name__ == "__main__":
    main()

"""Write a scenario's learning as files that know nothing of us.

    python tests/benchmarks/peers/export.py FOLDER [--seed N] [--set path=value]

``base/`` and ``adapter/`` are a model and a PEFT adapter as their own libraries save
them, before any training; ``data.npz`` has pixels and labels, who holds how many
samples, and the sample of every place of every mini-batch; ``work.json`` the settings.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

from fl.federation.federated_model import FederatedModel
from fl.model.checkpoint import write_checkpoint
from fl.model.export import write_base
from fl.partition import divide
from fl.settings.federation import FederationSettings
from fl.streams import stream
from fl.training.local_training import mini_batches
from netsim.cosim.reading import read_scenario
from netsim.cosim.scenario import Scenario

SCENARIO = Path(__file__).with_name("digits.yaml")


def scenario(seed: int, overrides: tuple[str, ...] = ()) -> Scenario:
    """Return the scenario of all these comparisons."""
    return read_scenario(SCENARIO, (f"seed={seed}", *overrides))


def sample_table(
    learning: FederationSettings, shares: list[np.ndarray], *, rounds: int, seed: int
) -> np.ndarray:
    """Return which sample is in each place: round, client, local step, place."""
    settings = learning.training

    def steps(client: int, start: int) -> list[np.ndarray]:
        rng = stream(seed, "batch", client, start)
        batches = mini_batches(
            shares[client], settings.per_device_train_batch_size, rng
        )
        return list(itertools.islice(batches, settings.local_steps))

    clients = range(len(shares))
    return np.array([[steps(c, start) for c in clients] for start in range(rounds)])


def export(config: Scenario, folder: Path) -> None:
    """Write the work of a scenario."""
    learning, seed, rounds = config.learning.settings, config.seed, config.stop.rounds
    count = config.population.num_clients
    shares = divide(learning.partition, learning.task, count, stream(seed, "partition"))
    everything = {}
    for split in ("train", "test"):
        batch = learning.task.batch(split, np.arange(len(learning.task.labels(split))))
        everything[f"{split}_pixels"] = batch["pixel_values"].numpy()
        everything[f"{split}_labels"] = batch["labels"].numpy()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "data.npz",
        num_samples=np.array([len(share) for share in shares]),
        samples=sample_table(learning, shares, rounds=rounds, seed=seed),
        **everything,
    )
    initial = FederatedModel(learning, seed, "cpu", "float32").initial
    write_checkpoint(folder / "adapter", initial, learning.lora)
    write_base(folder, learning.backbone.load(learning.task))
    settings = learning.training
    work = {
        "rounds": rounds,
        "clients": count,
        "steps": settings.local_steps,
        "batch": settings.per_device_train_batch_size,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
    }
    (folder / "work.json").write_text(json.dumps(work, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    asked = parser.parse_args()
    export(scenario(asked.seed, tuple(asked.overrides)), asked.folder)


if __name__ == "__main__":
    main()

"""The same adapter on the same base, trained on all the data in one place.

OMP_NUM_THREADS=1 python results/banking77/centralised.py SCENARIO TABLE.csv
    STEP [STEP …] [--seed N] [--set path=value …]

One plain ``torch.optim`` loop over PEFT's own layers, with the scenario's backbone,
head, first adapter, optimiser, learning rate and batch size; no network and no clients.
The adapter is evaluated on the test at each STEP, counted in steps of the optimiser.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from fl.backbones import read
from fl.model.evaluation import evaluate
from fl.model.lora_model import LoraModel
from fl.streams import stream
from fl.training.grouping import join_batches
from fl.training.local_training import mini_batches
from fl.training.slicing import passes
from netsim.cosim.learning_kinds import LoraLearning
from netsim.cosim.reading import read_scenario


def curve(
    learning: LoraLearning, seed: int, at_steps: list[int]
) -> Iterator[dict[str, float]]:
    """Yield the metrics at each of some steps, and the CPU seconds of training."""
    task = read(learning.task, learning.backbone)
    resident = LoraModel(
        learning.backbone.load(learning.task), learning.lora, seed=seed
    )
    settings = learning.training
    optimiser = torch.optim.AdamW(
        resident.parameters, lr=settings.learning_rate, weight_decay=0
    )
    batches = mini_batches(
        np.arange(len(task.labels("train"))),
        settings.per_device_train_batch_size,
        stream(seed, "centralised"),
    )
    trained_s = 0.0
    for step in range(1, max(at_steps) + 1):
        start_s = time.process_time()
        optimiser.zero_grad()
        add_gradients(resident, task.batch("train", next(batches)))
        optimiser.step()
        trained_s += time.process_time() - start_s
        if step in at_steps:
            found = evaluate(resident, task, "test")
            yield {
                "step": step,
                "accuracy": found.accuracy,
                "loss": found.loss,
                "training_cpu_s": round(trained_s, 1),
            }


def add_gradients(resident: LoraModel, batch: dict[str, torch.Tensor]) -> None:
    """Add the gradient of a batch's mean loss, short texts apart from long ones."""
    size = len(batch["labels"])
    for slices in passes([batch], resident.rule):
        part = join_batches([texts for _, texts in slices], resident.pad_token_id)
        logits = resident.logits(part)
        loss = torch.nn.functional.cross_entropy(
            logits, part["labels"], reduction="sum"
        )
        (loss / size).backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("steps", type=int, nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scenario = read_scenario(options.scenario, tuple(options.overrides))
    assert isinstance(scenario.learning, LoraLearning)
    with options.table.open("w", newline="") as file:
        table = None
        for row in curve(scenario.learning, options.seed, options.steps):
            table = table or csv.DictWriter(file, ["seed", *row])
            if not file.tell():
                table.writeheader()
            table.writerow({"seed": options.seed, **row})
            file.flush()
            print(row, flush=True)


if __name__ == "__main__":
    main()

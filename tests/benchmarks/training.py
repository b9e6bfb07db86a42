"""CPU time of local training, against a bare PEFT loop that does the same steps.

    OMP_NUM_THREADS=1 python tests/benchmarks/training.py [NAME ...] [--csv FILE]

The floor is a plain loop: one client at a time, PEFT's own layers, ``torch.optim`` and
the model's own loss, texts padded to the longest of the mini-batch. Ratios are relative
to it, with the lowest and highest in brackets: our engine; the engine without slicing;
one whole mini-batch per pass; and the floor with every text padded to the maximum. All
variants take turns, and each ratio is relative to the floor of the same turn.

The second table trains rounds of a federation in this process and in two others: the
wall-clock and the CPU time (of all processes) of the second to those of the first, once
the workers are up, and the CPU time that starting them takes.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing.forkserver
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from unittest import mock

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from fl.backbones import FromConfig, SmallViT
from fl.contract import Arrival, Job
from fl.federation.federation import Federation
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.partition import IID
from fl.settings.federation import FederationSettings
from fl.settings.local_training import TrainingSettings
from fl.streams import stream
from fl.tasks import Digits, Synthetic
from fl.training.grouping import ONE_CLIENT_PER_PASS, PassRule
from fl.training.local_training import LocalJob, mini_batches, train
from fl.training.stack import pass_rule_of
from netsim.cosim.learning_kinds import TRAINING
from netsim.cosim.workers import Workers

NUM_REPEATS = 3


class Texts:
    """Random words; each sample has a random length between two bounds."""

    def __init__(self, shortest: int, longest: int, labels: int | None) -> None:
        self._labels = labels
        rng = np.random.default_rng(0)
        self._lengths = rng.integers(shortest, longest + 1, size=512)
        self._words = torch.from_numpy(rng.integers(5, 1000, size=(512, longest)))
        self.pads_to_maximum = False

    def batch(self, split: str, indices: np.ndarray) -> dict[str, torch.Tensor]:
        lengths = torch.from_numpy(self._lengths[indices])
        full = self._words.shape[1]
        longest = full if self.pads_to_maximum else int(lengths.max())
        words = self._words[torch.from_numpy(indices), :longest]
        mask = torch.arange(longest)[None] < lengths[:, None]
        labels = words.masked_fill(~mask, -100)
        if self._labels is not None:
            labels = torch.from_numpy(indices % self._labels)
        words = words.masked_fill(~mask, 0)
        return {"input_ids": words, "attention_mask": mask.long(), "labels": labels}


@dataclass(frozen=True)
class Case:
    """One model, one kind of sample, some clients."""

    model: Callable[[], torch.nn.Module]
    task: object
    lora: LoraSettings
    num_clients: int
    batch_size: int
    steps: int


def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=384,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def minilm() -> BertForSequenceClassification:
    config = BertConfig(
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        num_labels=4,
    )
    return BertForSequenceClassification(config).eval()


BERT_LORA = LoraSettings(target_modules=("query", "value"))
LLAMA_LORA = LoraSettings(modules_to_save=())


def vit() -> torch.nn.Module:
    return SmallViT().load(Digits())


CASES = {
    "ViT 64x3, 16 images": Case(vit, Digits(), LoraSettings(), 20, 16, 5),
    "ViT 64x3, 4 images": Case(vit, Digits(), LoraSettings(), 20, 4, 5),
    "Llama 1M, 4 x 8-16": Case(llama, Texts(8, 16, None), LLAMA_LORA, 16, 4, 4),
    "Llama 1M, 4 x 8-128": Case(llama, Texts(8, 128, None), LLAMA_LORA, 8, 4, 3),
    "Llama 1M, 16 x 8-128": Case(llama, Texts(8, 128, None), LLAMA_LORA, 4, 16, 2),
    "Llama 1M, 16 x 64": Case(llama, Texts(64, 64, None), LLAMA_LORA, 4, 16, 2),
    "MiniLM, 1 x 8-32": Case(minilm, Texts(8, 32, 4), BERT_LORA, 16, 1, 2),
    "MiniLM, 4 x 8-16": Case(minilm, Texts(8, 16, 4), BERT_LORA, 8, 4, 2),
    "MiniLM, 16 x 8-40": Case(minilm, Texts(8, 40, 4), BERT_LORA, 4, 16, 1),
    "MiniLM, 4 x 16-128": Case(minilm, Texts(16, 128, 4), BERT_LORA, 4, 4, 2),
    "MiniLM, 16 x 32": Case(minilm, Texts(32, 32, 4), BERT_LORA, 3, 16, 1),
}
WORKER_CASES = {
    "ViT 64x3, 16 images": FederationSettings(
        partition=IID(),
        training=TrainingSettings(local_steps=20),
        cohort_size=8,
    ),
    "Llama 1M, 8 x 8-16": FederationSettings(
        task=Synthetic(num_samples=1000, num_test=10),
        backbone=FromConfig(
            model_type="llama",
            config={
                "hidden_size": 128,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "intermediate_size": 384,
            },
            vocab_size=1000,
        ),
        partition=IID(),
        lora=LoraSettings(modules_to_save=("score",)),
        training=TrainingSettings(local_steps=10, per_device_train_batch_size=8),
        cohort_size=8,
    ),
}


def peft_loop(lora_model: LoraModel, case: Case, jobs: list[LocalJob]) -> None:
    """Train one client at a time in a plain loop with the model as loaded."""
    lora_model.model.config.use_cache = True
    with lora_model.lora_dropout():
        for job in jobs:
            lora_model.write(job.start)
            optimiser = torch.optim.AdamW(
                lora_model.parameters, lr=5e-3, weight_decay=0
            )
            rng = stream(0, "batch", job.client_id, job.start_index)
            batches = mini_batches(job.samples, case.batch_size, rng)
            for _ in range(job.steps):
                optimiser.zero_grad()
                loss, _ = lora_model.forward(case.task.batch("train", next(batches)))
                loss.item()
                loss.backward()
                optimiser.step()
            lora_model.read()
    lora_model.model.config.use_cache = False


def jobs_of(case: Case, lora_model: LoraModel) -> list[LocalJob]:
    start = lora_model.read()
    return [
        LocalJob(
            client_id=client,
            start_index=0,
            steps=case.steps,
            start=start,
            samples=np.arange(20 * client, 20 * client + 20),
        )
        for client in range(case.num_clients)
    ]


def ways_of(case: Case) -> dict[str, Callable[[], None]]:
    """Return the variants of training the same steps, the floor first."""
    lora_model = LoraModel(case.model(), case.lora, seed=0)
    jobs = jobs_of(case, lora_model)
    settings = TrainingSettings(per_device_train_batch_size=case.batch_size)
    chosen = pass_rule_of(lora_model)

    def engine(rule: PassRule) -> None:
        with mock.patch("fl.training.stack.pass_rule", return_value=rule):
            train(lora_model, case.task, jobs, settings=settings, seed=0)

    def padded_floor() -> None:
        case.task.pads_to_maximum = True
        peft_loop(lora_model, case, jobs)
        case.task.pads_to_maximum = False

    ways: dict[str, Callable[[], None]] = {
        "floor": lambda: peft_loop(lora_model, case, jobs),
        "ours": lambda: engine(chosen),
        "one per pass": lambda: engine(ONE_CLIENT_PER_PASS),
    }
    if isinstance(case.task, Texts):
        ways["whole batches"] = lambda: engine(replace(chosen, slices_texts=False))
        ways["padded floor"] = padded_floor
    return ways


def measured(name: str, case: Case) -> list[dict[str, object]]:
    """Return one row per turn and variant, and print the medians of the ratios."""
    ways = ways_of(case)
    num_steps = case.num_clients * case.steps
    rows = []
    for repeat in range(NUM_REPEATS + 1):
        taken = {way: cpu_s(work) for way, work in ways.items()}
        if repeat:  # the first warms up
            rows += [
                {
                    "case": name,
                    "clients": case.num_clients,
                    "way": way,
                    "repeat": repeat,
                    "cpu_ms_per_step": round(1e3 * seconds / num_steps, 3),
                    "ratio": round(seconds / taken["floor"], 4),
                }
                for way, seconds in taken.items()
            ]
    show(name, case.num_clients, rows)
    return rows


def show(name: str, num_clients: int, rows: list[dict[str, object]]) -> None:
    floor_ms = [row["cpu_ms_per_step"] for row in rows if row["way"] == "floor"]
    cells = []
    for way in WAYS:
        ratios = [row["ratio"] for row in rows if row["way"] == way]
        spread = f" ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
        middle = f"{statistics.median(ratios):.2f}" if ratios else "-"
        cells.append(f"{middle + spread:>19}")
    step = f"{num_clients:>8}{statistics.median(floor_ms):>10.1f}"
    print(f"{name:<22}{step}{''.join(cells)}", flush=True)


WAYS = ("ours", "whole batches", "one per pass", "padded floor")


def cpu_s(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure_workers(name: str, learning: FederationSettings) -> None:
    """Train the same rounds with one and with two workers, in turns."""
    alone, two = (
        Federation(
            learning,
            num_clients=16,
            seed=0,
            executor=partial(Workers(workers).executor, preload=TRAINING),
        )
        for workers in (1, 2)
    )
    versions = {id(fed): fed.initial_version for fed in (alone, two)}

    def one_round(federation: Federation, round_id: int) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), all_cpu_s()
        version = versions[id(federation)]
        versions[id(federation)] = trained_round(federation, version, round_id)
        return time.perf_counter() - wall, all_cpu_s() - cpu

    one_round(alone, 1)
    _, start_s = one_round(two, 1)
    walls, cpus = [], []
    for round_id in range(2, 2 + NUM_REPEATS):
        first, second = one_round(alone, round_id), one_round(two, round_id)
        walls.append(second[0] / first[0])
        cpus.append(second[1] / first[1])
    assert versions[id(alone)] == versions[id(two)]
    alone.close()
    two.close()
    cells = "".join(
        f"{f'{statistics.median(r):.2f} ({min(r):.2f}-{max(r):.2f})':>19}"
        for r in (walls, cpus)
    )
    print(f"{name:<22}{first[1]:>12.1f}{cells}{start_s:>14.1f}", flush=True)


def trained_round(federation: Federation, version: str, round_id: int) -> str:
    learning = federation.learning
    jobs = [
        federation.submit(
            Job(
                client_id=client,
                start_index=round_id,
                round_id=round_id,
                version=version,
                steps=learning.training.local_steps,
                rank=learning.lora.r,
            )
        )
        for client in range(16)
    ]
    return federation.merge(version, [Arrival(job, 1 / 16) for job in jobs]).version


def all_cpu_s() -> float:
    """Return the CPU seconds of this process, its workers and their server (Linux)."""
    total = time.process_time()
    ticks = os.sysconf("SC_CLK_TCK")
    pids = [child.pid for child in multiprocessing.active_children()]
    server = multiprocessing.forkserver._forkserver._forkserver_pid
    for pid in pids if server is None else [*pids, server]:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def opened(path: str, columns: list[str]) -> csv.DictWriter:
    """Return a table that is complete on disk after every line."""
    file = open(path, "w", newline="", buffering=1)  # noqa: SIM115  the run closes it
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="only cases with these words")
    parser.add_argument("--csv", help="where each measurement goes, one row each")
    options = parser.parse_args()

    def chosen(cases: dict[str, object]) -> list[str]:
        names = options.names
        return [n for n in cases if not names or any(word in n for word in names)]

    torch.set_num_threads(1)
    torch.manual_seed(0)
    titles = "".join(f"{way:>19}" for way in WAYS)
    print(f"{'case':<22}{'clients':>8}{'floor ms':>10}{titles}")
    table = None
    for name in chosen(CASES):
        rows = measured(name, CASES[name])
        if options.csv:
            table = table or opened(options.csv, list(rows[0]))
            table.writerows(rows)
    print(
        f"\n{'2 workers for 1':<22}{'1: CPU s':>12}{'wall-clock':>19}{'CPU':>19}"
        f"{'start CPU s':>14}"
    )
    for name in chosen(WORKER_CASES):
        measure_workers(name, WORKER_CASES[name])


if __name__ == "__main__":
    main()

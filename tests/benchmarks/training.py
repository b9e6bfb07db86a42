"""CPU time of local training, against a bare PEFT loop that does the same steps.

    OMP_NUM_THREADS=1 python tests/benchmarks/training.py [NAME ...]

The floor is what a person would write: one client after the other, PEFT's own layers,
``torch.optim`` and the model's own loss, texts padded to the longest of the mini-batch.
Ratios are to it: our engine as its rule groups the clients, one client per pass, all in
one pass, and the floor with every text padded to the maximum. Runs alternate; the
figure is the median of the ratios of neighbouring runs.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from fl.adapters import LoraSettings
from fl.backbones import SmallViT
from fl.cohort.grouping import ALONE, Rule
from fl.resident import ResidentModel
from fl.streams import stream
from fl.tasks import Digits
from fl.training import LocalJob, TrainingSettings, mini_batches, train

NUM_REPEATS = 2


class Texts:
    """Random words, each sample of a length drawn between two bounds."""

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
CASES = {
    "ViT 64x3, 16 images": Case(
        lambda: SmallViT().load(Digits()), Digits(), LoraSettings(), 20, 16, 10
    ),
    "ViT 64x3, 4 images": Case(
        lambda: SmallViT().load(Digits()), Digits(), LoraSettings(), 20, 4, 10
    ),
    "Llama 1M, 4 x 8-16": Case(llama, Texts(8, 16, None), LLAMA_LORA, 16, 4, 4),
    "Llama 1M, 4 x 8-128": Case(llama, Texts(8, 128, None), LLAMA_LORA, 16, 4, 3),
    "Llama 1M, 16 x 64": Case(llama, Texts(64, 64, None), LLAMA_LORA, 8, 16, 3),
    "MiniLM, 1 x 8-32": Case(minilm, Texts(8, 32, 4), BERT_LORA, 16, 1, 3),
    "MiniLM, 4 x 8-16": Case(minilm, Texts(8, 16, 4), BERT_LORA, 16, 4, 2),
    "MiniLM, 4 x 16-128": Case(minilm, Texts(16, 128, 4), BERT_LORA, 8, 4, 2),
    "MiniLM, 16 x 64": Case(minilm, Texts(64, 64, 4), BERT_LORA, 4, 16, 2),
}


def peft_loop(resident: ResidentModel, case: Case, jobs: list[LocalJob]) -> None:
    """Train one client after the other as anyone would, the model as it comes."""
    resident.model.config.use_cache = True
    with resident.lora_dropout():
        for job in jobs:
            resident.write(job.start)
            optimiser = torch.optim.AdamW(resident.parameters, lr=5e-3, weight_decay=0)
            rng = stream(0, "batch", job.client_id, job.start_index)
            batches = mini_batches(job.samples, case.batch_size, rng)
            for _ in range(job.steps):
                optimiser.zero_grad()
                loss = resident.model(**case.task.batch("train", next(batches))).loss
                loss.item()
                loss.backward()
                optimiser.step()
            resident.read()
    resident.model.config.use_cache = False


def measure(name: str, case: Case) -> None:
    resident = ResidentModel(case.model(), case.lora, seed=0)
    start = resident.read()
    jobs = [
        LocalJob(
            client_id=client,
            start_index=0,
            steps=case.steps,
            start=start,
            samples=np.arange(20 * client, 20 * client + 20),
        )
        for client in range(case.num_clients)
    ]
    settings = TrainingSettings(per_device_train_batch_size=case.batch_size)
    chosen = resident.rule

    def engine(rule: Rule) -> None:
        resident.rule = rule
        train(resident, case.task, jobs, settings=settings, seed=0)

    def padded_floor() -> None:
        case.task.pads_to_maximum = True
        peft_loop(resident, case, jobs)
        case.task.pads_to_maximum = False

    ways: dict[str, Callable[[], None]] = {
        "ours": lambda: engine(chosen),
        "one per pass": lambda: engine(ALONE),
        "all in one": lambda: engine(Rule(max_positions=10**9, pass_cost=10**9)),
    }
    if isinstance(case.task, Texts):
        ways["padded floor"] = padded_floor
    floor_s, ratios = [], {way: [] for way in ways}
    for repeat in range(NUM_REPEATS + 1):
        for way, work in ways.items():
            floor = cpu_s(lambda: peft_loop(resident, case, jobs))
            taken = cpu_s(work)
            if repeat:  # the first warms up
                floor_s.append(floor)
                ratios[way].append(taken / floor)
    cells = "".join(f"{statistics.median(ratios[way]):>14.2f}" for way in ways)
    num_steps = case.num_clients * case.steps
    step_ms = 1e3 * statistics.median(floor_s) / num_steps
    print(f"{name:<22}{case.num_clients:>8}{step_ms:>12.1f}{cells}", flush=True)


def cpu_s(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(
        f"{'case':<22}{'clients':>8}{'floor ms':>12}{'ours':>14}{'one per pass':>14}"
        f"{'all in one':>14}{'padded floor':>14}"
    )
    for name, case in CASES.items():
        if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
            measure(name, case)


if __name__ == "__main__":
    main()

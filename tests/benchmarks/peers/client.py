"""A federated client as a person writes it: a bare PEFT loop over exported work.

Runs in a peer's environment and knows neither us nor the peer. ``PEER_WORK`` is a
folder made by ``export.py``; ``PEER_MARKS`` the file that :func:`mark` adds to.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import ViTForImageClassification

State = dict[str, torch.Tensor]  # what is trained and sent, by name
AT_ONCE = 256  # samples of an evaluation


class Work:
    """Settings, samples and model of one process."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        settings = json.loads((folder / "work.json").read_text())
        self.rounds: int = settings["rounds"]
        self.clients: int = settings["clients"]
        self.batch: int = settings["batch"]
        self.rate: float = settings["learning_rate"]
        self.decay: float = settings["weight_decay"]
        data = np.load(folder / "data.npz")
        self.samples = torch.from_numpy(data["samples"])
        self.num_samples: list[int] = data["num_samples"].tolist()
        self.train = [
            torch.from_numpy(data[f"train_{n}"]) for n in ("pixels", "labels")
        ]
        self.test = [torch.from_numpy(data[f"test_{n}"]) for n in ("pixels", "labels")]
        base = ViTForImageClassification.from_pretrained(folder / "base")
        # the base rests as it is: in eval mode, as ours does
        self.model = PeftModel.from_pretrained(
            base, folder / "adapter", is_trainable=True
        ).eval()
        named = self.model.named_parameters()
        self.trained = {n: p for n, p in named if p.requires_grad}

    def state(self) -> State:
        """Return a copy of what is trained."""
        return {name: p.detach().clone() for name, p in self.trained.items()}

    def load(self, state: State) -> None:
        """Make these the numbers of what is trained."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(state[name])

    def batches(self, client: int, start: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the mini-batches of a client's start."""
        for samples in self.samples[start, client]:
            yield tuple(tensor[samples] for tensor in self.train)

    def loss(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a mini-batch."""
        return cross_entropy(self.model(pixel_values=pixels).logits, labels)

    def optimiser(self) -> torch.optim.Optimizer:
        """Return a new optimiser: no state outlives a participation."""
        trained = list(self.trained.values())
        return torch.optim.AdamW(trained, lr=self.rate, weight_decay=self.decay)

    def train_from(self, state: State, client: int, start: int) -> State:
        """Return what a client sends after its local steps."""
        self.load(state)
        optimiser = self.optimiser()
        for pixels, labels in self.batches(client, start):
            optimiser.zero_grad()
            self.loss(pixels, labels).backward()
            optimiser.step()
        return self.state()

    def accuracy(self) -> float:
        """Return the share of right answers on the test."""
        parts = zip(*(tensor.split(AT_ONCE) for tensor in self.test), strict=True)
        with torch.inference_mode():
            right = sum(
                int((self.model(pixel_values=pixels).logits.argmax(-1) == labels).sum())
                for pixels, labels in parts
            )
        return right / len(self.test[1])

    def evaluate(self, state: State, round_id: int) -> float:
        """Note the round's mark and return the accuracy; save the last adapter."""
        self.load(state)
        accuracy = self.accuracy()
        mark(round_id, accuracy)
        if round_id == self.rounds:
            self.model.save_pretrained(Path(os.environ["PEER_MARKS"]).parent)
        return accuracy


@functools.cache
def work() -> Work:
    """Return this process's work; it is loaded once."""
    return Work(Path(os.environ["PEER_WORK"]))


def mark(round_id: int, accuracy: float) -> None:
    """Note that a round is over: wall-clock, and CPU of this process's whole family."""
    own = psutil.Process(int(os.environ.get("PEER_ROOT", os.getpid())))
    cpu_s = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            cpu_s += sum(process.cpu_times()[:4])  # with children that were waited for
        except psutil.NoSuchProcess:
            continue
    row = {
        "round": round_id,
        "wall_s": time.time(),
        "cpu_s": cpu_s,
        "accuracy": accuracy,
    }
    with open(os.environ["PEER_MARKS"], "a") as file:
        file.write(json.dumps(row) + "\n")

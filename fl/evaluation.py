"""How good the resident adapter is on a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fl.resident import ResidentModel
from fl.tasks import Split, Task

BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """The mean loss in nats and the share of right answers on one split."""

    split: Split
    num_samples: int
    loss: float
    accuracy: float


def evaluate(resident: ResidentModel, task: Task, split: Split) -> Metrics:
    """Return the metrics of the resident adapter on every sample of a split."""
    import torch

    num_samples = len(task.labels(split))
    total_loss, num_right = 0.0, 0
    with torch.inference_mode():
        for start in range(0, num_samples, BATCH_SIZE):
            indices = np.arange(start, min(start + BATCH_SIZE, num_samples))
            batch = task.batch(split, indices)
            loss, logits = resident.forward(batch)
            total_loss += loss.item() * len(indices)
            answers = logits.argmax(-1).cpu()
            num_right += int((answers == batch["labels"]).sum())
    return Metrics(
        split=split,
        num_samples=num_samples,
        loss=total_loss / num_samples,
        accuracy=num_right / num_samples,
    )

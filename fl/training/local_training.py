"""Local training of clients, between download and upload."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fl.local.plain import Plain
from fl.local.strategy import LocalTraining
from fl.model.lora_model import LoraModel
from fl.model.sketch import compensation, whole_sketch
from fl.settings.local_training import TrainingSettings
from fl.tasks import Task
from fl.training.cohort import RowCohort, mini_batches
from fl.training.job import Diverged, LocalJob, Trained

__all__ = ["Diverged", "LocalJob", "Trained", "mini_batches", "train"]

PLAIN = Plain()


def train(
    lora_model: LoraModel,
    task: Task,
    jobs: Sequence[LocalJob],
    *,
    settings: TrainingSettings,
    seed: int,
    how: LocalTraining = PLAIN,
) -> list[Trained | Diverged]:
    """Return the outcome of every job of a chunk, in order; the jobs train together.

    ``Diverged`` is returned, not raised, so that the caller can continue without that
    client. It does not affect the others.
    """
    outcomes: dict[int, Trained | Diverged] = {}
    for chunk in _chunks(jobs, is_stackable=lora_model.is_stackable):
        own = [jobs[i] for i in chunk]
        cohort = RowCohort(lora_model, task, own, settings, seed)
        try:
            how.train(cohort)
        finally:
            cohort.close()
        found = (_outcome(cohort, row, how) for row in range(len(chunk)))
        outcomes.update(zip(chunk, found, strict=True))
    return [outcomes[i] for i in range(len(jobs))]


def _chunks(jobs: Sequence[LocalJob], *, is_stackable: bool) -> list[list[int]]:
    """Return the indices of jobs that train together: those with the same factors.

    Jobs are sorted by steps, most first, so that clients that are done leave from the
    end.
    """
    order = sorted(range(len(jobs)), key=lambda i: -jobs[i].steps)
    if not is_stackable:
        return [[i] for i in order]
    chunks: dict[frozenset[str], list[int]] = {}
    for i in order:
        chunks.setdefault(frozenset(jobs[i].trains), []).append(i)
    return list(chunks.values())


def _outcome(cohort: RowCohort, row: int, how: LocalTraining) -> Trained | Diverged:
    """Return what came of one client of a cohort."""
    job, losses, demands = cohort.jobs[row], cohort.losses_of(row), how.demands
    for step, loss in enumerate(losses):
        if not math.isfinite(loss):
            return Diverged(job.client_id, job.start_index, step)
    sketch = job.sketch or whole_sketch(job.rank)
    gain = compensation(cohort.settings.optim, sketch)
    adapter = cohort.rows.trained(row, gain=gain)
    # copies: a view would hold the rows of the whole cohort
    kept = cohort.kept[row].to("cpu", copy=True) if demands.keeps else None
    sent = cohort.sent[row].to("cpu", copy=True) if demands.shares else None
    made = adapter.flat, *(one for one in (kept, sent) if one is not None)
    if not all(one.isfinite().all() for one in made):
        return Diverged(job.client_id, job.start_index, job.steps)
    is_told = losses and not demands.hides_losses
    mean = math.fsum(losses) / len(losses) if is_told else None
    return Trained(adapter, mean, kept, sent)

"""Learning switched off: fixed sizes and FLOP, nothing trained, nothing scored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fl.contract import NOTHING, Arrival, Branch, Job, Merged, Score, Work
from netsim.learner.evaluation_schedule import EvaluationSchedule
from netsim.scenario.each import of_client

MAX_SAMPLES = 2**53  # what a weight, a float, can count


@dataclass(frozen=True, kw_only=True, slots=True)
class NoLearning:
    """Answers every question of the network and learns nothing; a version is the
    digest of the merges before it, as with real learning."""

    num_clients: int
    download_bits: int | tuple[int, ...]  # the same for all, or of each client
    upload_bits: int | tuple[int, ...]
    compute_flop: int | tuple[int, ...]
    memory_bytes: int
    samples_per_client: int
    local_steps: int = 1  # that ``compute_flop`` are
    counted: Work | None = None  # of a model, in place of ``compute_flop``
    initial_version: str = "initial"
    rank: None = None
    schedule: EvaluationSchedule = field(default_factory=EvaluationSchedule)
    steps_trained: int = 0
    steps_reused: int = 0

    @property
    def num_samples(self) -> Sequence[int]:
        return [self.samples_per_client] * self.num_clients

    def memory_at(self, rank: int | None) -> int:
        return self.memory_bytes

    def bits_down(self, job: Job, have: str | None) -> tuple[int, int]:
        if isinstance(self.download_bits, tuple):
            return 0, self.download_bits[job.client_id]
        return self.download_bits, 0

    def bits_up(self, job: Job) -> int:
        return of_client(self.upload_bits, job.client_id)

    def work(self, job: Job) -> Work:
        if self.counted is not None:
            return self.counted
        return _work(of_client(self.compute_flop, job.client_id), self.local_steps)

    def submit(self, job: Job) -> str:
        return f"{job.version}/{job.client_id}/{job.start_index}"

    def withdraw(self, ticket: str) -> None:
        return None

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        if not arrivals:
            return Merged(version)
        text = "\n".join([version, *(f"{a.ticket} {a.weight!r}" for a in arrivals)])
        return Merged(hashlib.sha256(text.encode()).hexdigest())

    def hold(self, versions: Sequence[str]) -> None:
        return None

    def join(
        self, version: str, branches: Sequence[Branch], *, round_id: int
    ) -> Merged:
        text = "\n".join([version, *(f"{b.version} {b.weight!r}" for b in branches)])
        return Merged(hashlib.sha256(text.encode()).hexdigest())

    def evaluate(self, version: str) -> Sequence[Score]:
        return ()

    def export(self, version: str, folder: Path, *, with_base: bool = False) -> str:
        return ""

    def close(self) -> None:
        return None


@lru_cache(maxsize=1024)
def _work(flop: int, steps: int) -> Work:
    return Work(flop, steps=steps) if flop else NOTHING

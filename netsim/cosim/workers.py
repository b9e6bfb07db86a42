"""Where runs and cohorts are done: in this process, in several, or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from fl.workers.executor import Executor, Inline, NoCluster
from netsim.errors import InputError

__all__ = ["ALONE", "Executor", "NoCluster", "Workers"]

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Workers:
    """``num`` processes here, or workers of a Ray cluster: by default as many as it has
    free processors."""

    num: int | None = None
    ray: str | None = None  # auto, or an address
    num_gpus: float = 0.0  # that each worker of a Ray cluster reserves

    def __post_init__(self) -> None:
        if self.num is not None and self.num < 1:
            raise InputError(f"workers must be at least 1, got {self.num}")
        if self.num_gpus and self.ray is None:
            raise InputError("--gpus: only workers of a cluster reserve any: --ray")

    def executor(self, state: State, preload: Sequence[str] = ()) -> Executor[State]:
        """Return the executor whose workers each hold ``state``; processes of this
        machine import ``preload`` once for all."""
        if self.ray is None:
            num = self.num or 1
            if num == 1:
                return Inline(state)
            from fl.workers.processes import processes  # brings multiprocessing

            return processes(num, state, preload)
        from fl.workers.ray_cluster import ray_workers

        try:
            return ray_workers(
                self.ray, state, num_workers=self.num, num_gpus=self.num_gpus
            )
        except NoCluster as error:
            raise InputError(f"--ray {self.ray}: {error}") from error


ALONE = Workers()

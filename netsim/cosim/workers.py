"""Where the runs of a study are done: in this process, in several, or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from fl.workers.executor import Executor, Inline
from fl.workers.processes import processes
from fl.workers.ray_cluster import NoCluster, ray_workers
from netsim.errors import InputError

__all__ = ["Executor", "NoCluster", "Workers"]

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Workers:
    """``num`` processes here, or workers of a Ray cluster: by default as many as it has
    free processors."""

    num: int | None = None
    ray: str | None = None  # auto, or an address
    num_gpus: float = 0.0  # that each worker of a Ray cluster reserves

    def executor(self, state: State) -> Executor[State]:
        """Return the executor whose workers each hold ``state``."""
        if self.ray is None:
            if self.num_gpus:
                raise InputError("--gpus: only workers of a cluster reserve any: --ray")
            num = self.num or 1
            return Inline(state) if num == 1 else processes(num, state)
        try:
            return ray_workers(
                self.ray, state, num_workers=self.num, num_gpus=self.num_gpus
            )
        except NoCluster as error:
            raise InputError(f"--ray {self.ray}: {error}") from error

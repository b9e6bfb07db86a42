"""The work of whatever a client app does with torch, counted as it is done."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from fl.contract import Work
from fl.costs.movement import OperationCounter


class Counting:
    """Counts operations of torch, and steps of its optimisers, while it is entered."""

    def __init__(self) -> None:
        self._counter = OperationCounter()
        self._num_steps = 0
        self._hook: Any = None

    def __enter__(self) -> Counting:
        self._hook = register_optimizer_step_post_hook(self._step)
        self._counter.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        self._counter.__exit__(*error)  # type: ignore[no-untyped-call]
        self._hook.remove()

    def work(self) -> Work:
        """Return what was counted so far."""
        moved = self._counter.moved._asdict()
        return Work(self._counter.flop, steps=self._num_steps, **moved)

    def _step(self, *_: object) -> None:
        self._num_steps += 1

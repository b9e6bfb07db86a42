"""Calibration: the measured time of local steps on this host.

The result is written as a device, which a run uses; a run never measures time itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from fl.costs import ModelCosts, count_costs
from fl.federation.federated_model import FederatedModel
from fl.settings.federation import FederationSettings
from fl.streams import torch_threads
from fl.training.local_training import Diverged, LocalJob, train

Clock = Callable[[], float]
PRODUCT_SIZES: Final = {"cpu": 1024, "accelerator": 8192}  # of square matrices
PRODUCTS: Final = 5  # per trial, and number of trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A measurement: the clock, the seconds of each trial of ``steps`` local steps, and
    the highest rate of a matrix product of the same precision, in FLOP/s."""

    clock: str
    trials_s: tuple[float, ...]
    steps: int
    flop_per_step: int
    samples_per_step: int
    product_flop_per_s: float
    device: str
    threads: int
    memory_bytes: int

    @property
    def step_s(self) -> float:
        """Return the seconds of a local step in the fastest trial, which other work on
        the host disturbed least."""
        return min(self.trials_s) / self.steps

    @property
    def flop_per_s(self) -> float:
        """Return the counted FLOP of training per second."""
        return self.flop_per_step / self.step_s


def measure(
    learning: FederationSettings,
    *,
    device: str,
    threads: int | None = None,
    trials: int = 5,
    warmups: int = 1,
    clock: Clock | None = None,
) -> Measured:
    """Return the measured speed of local training and of matrix products on this host.

    A trial is one participation at full rank with all of the task's samples. The
    default of ``threads`` is torch's. By default a processor is timed by the CPU time
    of this thread, which other work on the host does not lengthen, an accelerator by
    the wall clock.
    """
    import torch

    is_cpu = device == "cpu"
    if clock is None:
        clock = time.thread_time if is_cpu else time.perf_counter
    costs = _costs(learning)
    model = FederatedModel(learning, 0, device, "float32")
    used = torch.get_num_threads() if threads is None else threads
    with torch_threads(used):
        model.initial  # noqa: B018 - loads the model, which sets the threads
        torch.set_num_threads(used)
        product_flop_per_s = _product_rate(learning, device, clock)
        trials_s = [_trial_s(model, n, clock) for n in range(warmups + trials)]
    return Measured(
        clock="CPU time" if is_cpu else "wall clock",
        trials_s=tuple(trials_s[warmups:]),
        steps=learning.training.local_steps,
        flop_per_step=costs.training_flop(rank=learning.lora.r, steps=1),
        samples_per_step=costs.samples_per_step,
        product_flop_per_s=product_flop_per_s,
        device=device,
        threads=used,
        memory_bytes=_memory_bytes(device),
    )


def _costs(learning: FederationSettings) -> ModelCosts:
    return count_costs(
        learning.task,
        learning.backbone,
        lora=learning.lora,
        training=learning.training,
        trains=learning.exchange(1).trains,
    )


def _trial_s(model: FederatedModel, start_index: int, clock: Clock) -> float:
    """Return the seconds of one participation, until its result is on the CPU."""
    learning = model.learning
    job = LocalJob(
        client_id=0,
        start_index=start_index,
        steps=learning.training.local_steps,
        start=model.initial,
        samples=np.arange(len(model.task.labels("train"))),
        trains=learning.exchange(1).trains,
    )
    start_s = clock()
    (outcome,) = train(
        model.lora_model, model.task, [job], settings=learning.training, seed=0
    )
    took_s = round(clock() - start_s, 6)
    if isinstance(outcome, Diverged):
        raise outcome
    return took_s


def _product_rate(learning: FederationSettings, device: str, clock: Clock) -> float:
    """Return the FLOP/s of the fastest trial of matrix products."""
    import torch

    size = PRODUCT_SIZES["cpu" if device == "cpu" else "accelerator"]
    dtype = torch.bfloat16 if learning.training.bf16 else torch.float32
    factor = torch.ones(size, size, device=device, dtype=dtype)
    trials_s = []
    for _ in range(PRODUCTS + 1):  # the first one warms up
        start_s = clock()
        for _ in range(PRODUCTS):
            product = factor @ factor
        product[0, 0].item()  # waits until the device has computed it
        trials_s.append(clock() - start_s)
    return float(f"{PRODUCTS * 2 * size**3 / min(trials_s[1:]):.4g}")


def _memory_bytes(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

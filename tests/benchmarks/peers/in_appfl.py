"""A fleet's rounds in APPFL's virtual-time simulator: in_appfl.py FLEET ANSWER

The server agent, its scheduler and its aggregator are APPFL's; a client trains nothing
and sends a model of four bytes, over a link that is slower in proportion. Memory
optimisation, a garbage collection per update, is off; only warnings are logged. What
APPFL imports and these rounds never use is stood in for: a tracker, differential
privacy and image quality, the last of which wants torchvision.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import MagicMock

import torch

UNUSED = "wandb piq opacus opacus.utils opacus.utils.batch_memory_manager"
sys.modules.update((name, MagicMock()) for name in UNUSED.split())

from appfl.agent import SimServerAgent  # noqa: E402
from appfl.vsim import AsyncSimDriver, ClientProfile, SyncSimDriver  # noqa: E402

MODEL_BITS = 32


class Tiny(torch.nn.Module):
    """A model of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


class Idle:
    """A client agent that sends back what it was given, after one step of no work."""

    def __init__(self, number: int) -> None:
        self._id, self._state = str(number), {}

    def get_id(self) -> str:
        return self._id

    def load_parameters(self, state: dict) -> None:
        self._state = state

    def train(self) -> None:
        pass

    def get_parameters(self) -> tuple[dict, dict]:
        return self._state, {"current_local_steps": 1}


class UplinkOnly(ClientProfile):
    """A profile without a download, as APPFL's own page on asymmetric links says."""

    def download_time(self, model_bytes: float, **kwargs: object) -> float:
        return 0.0


def server(fleet: dict, epochs: int, place: str) -> SimServerAgent:
    """Return a server agent with APPFL's scheduler and aggregator."""
    is_sync, count = fleet["mode"] == "sync", len(fleet["compute_s"])
    calm = {"optimize_memory": False}
    return SimServerAgent(
        {
            "client_configs": {
                "model_configs": {"model_path": __file__, "model_name": "Tiny"}
            },
            "server_configs": {
                "num_clients": count,
                "num_global_epochs": epochs,
                "scheduler": "SyncScheduler" if is_sync else "AsyncScheduler",
                "scheduler_kwargs": {"num_clients": count, **calm},
                "aggregator": "FedAvgAggregator" if is_sync else "FedAsyncAggregator",
                "aggregator_kwargs": calm,
                "logging_output_dirname": place,
                **calm,
            },
        }
    )


def main() -> None:
    fleet = json.loads(Path(sys.argv[1]).read_text())
    is_sync, count = fleet["mode"] == "sync", len(fleet["compute_s"])
    epochs = fleet["completions"] // count if is_sync else fleet["completions"]
    slower = MODEL_BITS / fleet["bits"]
    pairs = zip(fleet["compute_s"], fleet["rate_mbps"], strict=True)
    profiles = {
        str(n): UplinkOnly(compute_factor=compute_s, bandwidth=rate * slower)
        for n, (compute_s, rate) in enumerate(pairs)
    }
    quiet = logging.getLogger("quiet")
    quiet.setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        agent = server(fleet, epochs, place)
        clients = [Idle(n) for n in range(count)]
        options = {"logger": quiet, "base_step_time": 1.0}
        began_s = time.process_time()
        if is_sync:
            driver = SyncSimDriver(
                agent, clients, profiles, count, target_rounds=epochs, **options
            )
        else:
            driver = AsyncSimDriver(agent, clients, profiles, count, **options)
        driver.run()
        cpu_s = time.process_time() - began_s
    ends = [row["vtime"] for row in driver.history]
    Path(sys.argv[2]).write_text(json.dumps({"ends_s": ends, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()

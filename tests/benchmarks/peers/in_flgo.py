"""A fleet's rounds under FLGo's clock: python in_flgo.py FLEET.json ANSWER.json

Server, state machine and clock are FLGo's, put together as its ``init`` does; a client
trains nothing. The clock counts whole units, here ``unit_s`` of FLEET, and knows one
latency per client: compute and upload in one, computed here as compute time and bits
over the client's own rate. FLGo imports torchvision, which these rounds never use.
"""

from __future__ import annotations

import json
import sys
import time
import types
from pathlib import Path
from unittest.mock import MagicMock

import torch

for name in ("torchvision", "torchvision.transforms", "torchvision.datasets"):
    sys.modules[name] = MagicMock()

import flgo  # noqa: E402
import flgo.simulator.base as clockwork  # noqa: E402
from flgo.algorithm import asyncbase, fedbase  # noqa: E402
from flgo.utils.fflow import GlobalVariable, default_option_dict  # noqa: E402
from flgo.utils.fmodule import FModule  # noqa: E402


class Tiny(FModule):
    """A model of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


class Idle(fedbase.BasicClient):
    """A client that trains nothing."""

    num_steps = 1
    datavol = 1

    def train(self, model: Tiny) -> None:
        pass


class Quiet:
    """A logger of nothing, that keeps when rounds ended, or clients arrived."""

    def __init__(self, is_sync: bool) -> None:
        self.gv: GlobalVariable
        self.is_sync = is_sync
        self.ends: list[int] = []

    def check_if_log(self, round_id: int, interval: int) -> bool:
        return False

    def info(self, text: str) -> None:
        if text.startswith("--------------Round") and self.is_sync:
            self.ends.append(self.gv.clock.current_time)

    def early_stop(self) -> bool:
        return False

    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: None


def simulator(latencies: dict[int, int]) -> type:
    """Return FLGo's state machine with these latencies, in units of the clock."""

    class Given(clockwork.BasicSimulator):
        def update_client_responsiveness(self, client_ids: list, *rest: object) -> None:
            values = [latencies[client] for client in client_ids]
            self.set_variable(client_ids, "latency", values)

    return Given


def federation(fleet: dict, wanted: int) -> tuple[fedbase.BasicServer, Quiet]:
    """Return a server with its clients, clock and state machine, which stops after so
    many rounds, or arrivals."""
    is_sync = fleet["mode"] == "sync"
    base = fedbase.BasicServer if is_sync else asyncbase.AsyncServer
    count = len(fleet["compute_s"])

    def received(self: fedbase.BasicServer, packages: dict) -> bool:
        """Note who arrived, several at one unit of the clock maybe."""
        logger.ends += [gv.clock.current_time] * len(packages["__cid"])
        return base.package_handler(self, packages)

    def is_over(self: fedbase.BasicServer) -> bool:
        return len(logger.ends) >= wanted

    kind = type(
        "Server",
        (base,),
        {
            "_if_exit": is_over,
            "package_handler": received,
            "sample": clockwork.with_availability(base.sample),
            "communicate_with": clockwork.with_latency(base.communicate_with),
            "communicate": clockwork.with_dropout(base.communicate),
        },
    )
    logger = Quiet(is_sync)
    gv = logger.gv = GlobalVariable(logger=logger, dev_list=[torch.device("cpu")])
    kind.gv = Idle.gv = gv
    # `md` draws with replacement and a busy client again, so it is `full` or `uniform`
    sample = "full" if is_sync else "uniform_available"
    option = {**default_option_dict, "task": "", "no_tqdm": True, "eval_interval": 0}
    option |= {"sample": sample, "proportion": 1.0, "num_rounds": wanted}
    server, clients = kind(option), [Idle(option) for _ in range(count)]
    for number, client in enumerate(clients):
        client.id, client.num_steps = number, 1
        client.register_server(server)
    server.register_clients(clients)
    server.model, server.clients_per_round = Tiny(), count
    gv.communicator = flgo.VirtualCommunicator([server, *clients])
    gv.clock, unit_s = clockwork.ElemClock(), fleet["unit_s"]
    times = zip(fleet["compute_s"], fleet["rate_mbps"], strict=True)
    latencies = {
        n: max(1, round((compute_s + fleet["bits"] / rate / 1e6) / unit_s))
        for n, (compute_s, rate) in enumerate(times)
    }
    gv.simulator = simulator(latencies)([server, *clients], option)
    gv.clock.register_simulator(gv.simulator)
    gv.simulator.gv = gv.clock.gv = gv
    server._load_checkpoint = types.MethodType(lambda self: True, server)
    server._save_checkpoint = types.MethodType(lambda self: None, server)
    return server, logger


def main() -> None:
    fleet = json.loads(Path(sys.argv[1]).read_text())
    count, wanted = len(fleet["compute_s"]), fleet["completions"]
    is_sync = fleet["mode"] == "sync"
    server, logger = federation(fleet, wanted // count if is_sync else wanted)
    began_s = time.process_time()
    server.run()
    cpu_s = time.process_time() - began_s
    ends = [end * fleet["unit_s"] for end in logger.ends]
    Path(sys.argv[2]).write_text(json.dumps({"ends_s": ends, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()

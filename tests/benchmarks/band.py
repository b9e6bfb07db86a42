"""Transfer ends per CPU second on one shared band, trace rows included.

    python tests/benchmarks/band.py

Keeps a constant number of transfers live (each end starts the next one) under processor
sharing; prints the rate for each number live, and that of a bare SimPy timeout loop.
"""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from pathlib import Path

import simpy

from netsim.band import Message, SharedBand
from netsim.core.engine import Engine, rare_garbage_collection
from netsim.sharing import ProcessorSharing
from netsim.trace.writer import Recorder

NUM_ENDS = 200_000


class Flat:
    """A radio of 5 bit/s/Hz on every channel."""

    depends_on_share = False

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int:
        return 5_000_000_000


class Still:
    """A channel that never changes."""

    def at(self, now_ns: int) -> tuple[float, None]:
        return 1.0, None


class Forgetful(Recorder):
    """A writer that keeps rows in memory only."""

    def flush_full(self) -> None:
        for rows in (self.transfers, self.segments, self.bands):
            rows.clear()


def ends_per_cpu_s(
    num_live: int, num_ends: int, kind: type[Recorder] = Recorder
) -> float:
    """Return transfer ends per CPU second with ``num_live`` always sending."""
    env, channel = Engine(), Still()
    sizes = random.Random(0).choices(range(10**5, 10**7), k=num_ends)
    with tempfile.TemporaryDirectory() as folder:
        recorder = kind(Path(folder) / "trace")
        band = SharedBand(
            env,
            cell_id=0,
            direction="up",
            band_hz=20_000_000,
            radio=Flat(),
            divider=ProcessorSharing(),
            ledger=recorder,
            transfer_ids=itertools.count(),
        )
        tasks = itertools.count()

        def client(client_id: int):
            while (task_id := next(tasks)) < num_ends:
                message = Message(0, sizes[task_id], task_id, client_id)
                yield band.send(message, channel).done
                if task_id % 64 == 0:
                    recorder.flush_full()

        for client_id in range(num_live):
            env.process(client(client_id))
        start_s = time.process_time()
        with rare_garbage_collection():
            env.run()
        band.close()
        recorder.close()
        return num_ends / (time.process_time() - start_s)


def timeouts_per_cpu_s(num_events: int) -> float:
    """Return the timeouts per CPU second of a bare SimPy loop."""
    env = simpy.Environment(0)

    def loop():
        for _ in range(num_events):
            yield env.timeout(7)

    env.process(loop())
    start_s = time.process_time()
    env.run()
    return num_events / (time.process_time() - start_s)


def main() -> None:
    print(f"bare SimPy timeouts: {timeouts_per_cpu_s(NUM_ENDS):,.0f} per CPU second")
    for num_live in (10, 100, 1_000, 10_000):
        rate = ends_per_cpu_s(num_live, NUM_ENDS)
        print(f"{num_live:>6} live: {rate:,.0f} transfer ends per CPU second")


if __name__ == "__main__":
    main()

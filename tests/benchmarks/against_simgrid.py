"""The same flows over one shared band in SimGrid and here: ends and speed.

    python tests/benchmarks/against_simgrid.py [--python /usr/bin/python3] [--out FILE]

SimGrid (Debian's python3-simgrid, its fluid CM02 model) runs in a separate process
under the Python that has it; without one, this ends with a message. Every flow has a
start and a size, and half of them have their own rate limit, which is a private link in
SimGrid and a radio's limit here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from netsim.band import Message, SharedBand
from netsim.core.engine import Engine, rare_garbage_collection
from netsim.sharing import ProcessorSharing
from netsim.trace.writer import Recorder

BAND_HZ = 20_000_000
NBIT_S_HZ = 5_000_000_000  # 5 bit/s/Hz: 12.5 MB/s in all
BYTES_PER_S = BAND_HZ * 5 // 8
PEER = Path(__file__).with_name("in_simgrid.py")
BUSY_S = 30  # of the whole link, at the sizes' median
COUNTS = (10, 100, 1_000, 3_000)  # SimGrid takes minutes for 10,000


@dataclass(frozen=True)
class Flow:
    """A flow with its start, its bytes and its rate limit in bytes per second."""

    start_ns: int
    num_bytes: int
    ceiling_bytes_per_s: int | None


class Flat:
    """A radio of 5 bit/s/Hz on every channel."""

    depends_on_share = False

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int:
        return NBIT_S_HZ


class Still:
    """A channel that never changes."""

    def at(self, now_ns: int) -> tuple[float, None]:
        return 1.0, None


def flows(count: int, seed: int = 0) -> list[Flow]:
    """Return flows that start within a second and keep the link busy for minutes; half
    of them have a rate limit of 1/4 to 4 equal shares."""
    rng = random.Random(seed)
    share = BYTES_PER_S / count
    return [
        Flow(
            rng.randrange(10**9, 2 * 10**9),
            round(BUSY_S * share * rng.lognormvariate(0, 1.5)) + 1,
            round(share * 2 ** rng.uniform(-2, 2)) + 1 if rng.random() < 0.5 else None,
        )
        for _ in range(count)
    ]


def ends_here(given: list[Flow]) -> tuple[list[float], float]:
    """Return when each flow ends, in seconds, and the CPU seconds, trace included."""
    env, channel, ends_s = Engine(), Still(), [0.0] * len(given)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder) / "trace")
        band = SharedBand(
            env,
            cell_id=0,
            direction="up",
            band_hz=BAND_HZ,
            radio=Flat(),
            divider=ProcessorSharing(),
            ledger=recorder,
            transfer_ids=itertools.count(),
        )

        def send(number: int, flow: Flow):
            yield env.timeout(flow.start_ns)
            ceiling = flow.ceiling_bytes_per_s
            transfer = band.send(
                Message(0, flow.num_bytes * 8, number, number),
                channel,
                ceiling_uhz=None if ceiling is None else ceiling * 8 * 10**6 // 5,
            )
            yield transfer.done
            ends_s[number] = env.now / 1e9
            if number % 64 == 0:
                recorder.flush_full()

        for number, flow in enumerate(given):
            env.process(send(number, flow))
        start_s = time.process_time()
        with rare_garbage_collection():
            env.run()
        took_s = time.process_time() - start_s
        band.close()
        recorder.close()
    return ends_s, took_s


def ends_in_simgrid(given: list[Flow], python: str) -> tuple[list[float], float]:
    """Return the same as :func:`ends_here`, from SimGrid."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "flows.json", Path(folder) / "ends.json"
        rows = [
            [flow.start_ns / 1e9, flow.num_bytes, flow.ceiling_bytes_per_s]
            for flow in given
        ]
        asked.write_text(json.dumps({"band_bytes_per_s": BYTES_PER_S, "flows": rows}))
        command = [python, str(PEER), str(asked), str(answered)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(answered.read_text())
    return found["ends_s"], found["cpu_s"]


def version(python: str) -> str | None:
    """Return SimGrid's version under a Python, or an empty text without SimGrid."""
    code = "import simgrid, sys; sys.stderr.write(simgrid.simgrid_version)"
    try:
        found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    except OSError:
        return None
    return found.stderr.strip().splitlines()[-1] if found.returncode == 0 else None


def gaps(
    ours_s: list[float], theirs_s: list[float], given: list[Flow]
) -> tuple[float, float]:
    """Return the largest gap of ends in seconds, and relative to the time that the
    flow took."""
    found = [abs(a - b) for a, b in zip(ours_s, theirs_s, strict=True)]
    spans = [b - f.start_ns / 1e9 for b, f in zip(theirs_s, given, strict=True)]
    return max(found), max(gap / s for gap, s in zip(found, spans, strict=True))


def lines(python: str, counts: tuple[int, ...]):
    """Yield the rows of the table."""
    yield "| flows | gap, at most | of the flow's time | SimGrid | here | speed |"
    yield "|---:|---:|---:|---:|---:|---:|"
    ends_here(flows(3_000))  # what is used for the first time is not the band's
    for count in counts:
        given = flows(count)
        ours_s, our_cpu_s = ends_here(given)
        theirs_s, their_cpu_s = ends_in_simgrid(given, python)
        of_ends, of_spans = gaps(ours_s, theirs_s, given)
        ratio = their_cpu_s / our_cpu_s
        yield (
            f"| {count:,} | {of_ends * 1e9:.1f} ns | {of_spans:.0e} "
            f"| {their_cpu_s:.3f} s | {our_cpu_s:.3f} s | {ratio:.1f} x |"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--counts", type=int, nargs="*", default=COUNTS)
    asked = parser.parse_args()
    found = version(asked.python)
    if found is None:
        print(f"no SimGrid under {asked.python}: apt install python3-simgrid; skipped")
        return
    print(f"SimGrid {found}", flush=True)
    for line in lines(asked.python, tuple(asked.counts)):
        print(line, flush=True)


if __name__ == "__main__":
    main()

"""Uploads over a link that follows a recorded trace, played with real bytes.

    sudo python tests/benchmarks/real_bytes/recorded.py FOLDER_OF_TRACES
    PYTHONPATH=. python tests/benchmarks/real_bytes/judge_recorded.py FOLDER_OF_TRACES

Processes in network namespaces send what the simulation says, over an uplink that
follows the trace by `tc` (follow.py). Each case is played as often as REPEATS says, a
number fixed before the first play. Appends to recorded.csv beside
results/real-bytes/README.md, a row per upload; plays that are there are left out.
judge_recorded.py compares.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import foresight
import numpy as np
import pandas as pd
from harness import play
from link import FIFO_BYTES, Refused, Shape, Trace

from netsim.channel.measured import read_capacity
from netsim.cosim.reading import parse_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.scenario import Scenario
from netsim.runs.run import Run, load_run

OUT = Path("results") / "real-bytes" / "recorded.csv"
NUM_CLIENTS = 6
WEIGHTS = (1, 2, 4, 1, 2, 4)  # of the clients' sizes
BAND_HZ = 5_000_000
ROUND_S = 15  # that the uploads of a play take on the trace's mean rate
GAP_S = {"together": 0.0, "staggered": 1.0}
REPEATS = {"fair": 3, "one": 5}  # by queue; TCP's losses in one queue are chance
OFFSETS = (0.1, 0.718)  # parts of a trace
SHARING = {
    "fair": "processor-sharing",
    "one": f"{{kind: first-come, queue: {FIFO_BYTES} B}}",
}
DOWN_BPS = 10**9
SCENARIO = """
name: recorded
stop: {{rounds: 1}}
server: {{kind: synchronous, sampling: full, announce_time: 10 ms, merge_time: 20 ms}}
population:
  num_clients: {num}
  placement: {{kind: ring, distance: 20 m}}
  devices:
    - device:
        {{name: stopwatch, peak: 1 GFLOP/s, efficiency: 1, memory: 1 GB,
          compute_power: 0 W, idle_power: 0 W}}
cell:
  uplink:
    band: {band} Hz
    radio:
      {{kind: measured, path: {path}, reference_band: {band} Hz,
        start_offset: {offset} s}}
    sharing: {sharing}
    transport: {{payload: 1448 B, header: 52 B}}
  downlink: {{band: 5 MHz, radio: {{kind: per-hertz, reference_band: 5 MHz}}}}
  path_loss: {{kind: log-distance, exponent: 2, reference_loss: 40 dB}}
learning: {{kind: none, download: 0 B, upload: {upload}, compute: {compute}}}
"""


COLUMNS = ["client_id", "num_bytes", "start_s", "end_s", "num_resent"]


class Case(NamedTuple):
    """A trace from an offset on, a pattern, and the kind of queue."""

    trace: str
    offset_s: float
    pattern: str
    queue: str


def cases(folder: Path) -> Iterator[Case]:
    """Yield every case: two offsets in each trace, both patterns and queues."""
    for part in OFFSETS:
        for path in sorted(folder.glob("*.up")):
            period_s = read_capacity(path, "mahimahi", BAND_HZ).period_ns / 1e9
            for queue in REPEATS:
                for pattern in GAP_S:
                    yield Case(path.name, round(period_s * part, 1), pattern, queue)


def sizes(trace: Path) -> list[int]:
    """Return the bytes of the clients' uploads."""
    table = read_capacity(trace, "mahimahi", BAND_HZ)
    mean_bps = table.mean_efficiency_bit_s_hz * BAND_HZ
    unit = mean_bps * ROUND_S / 8 / sum(WEIGHTS)
    return [round(unit * weight) for weight in WEIGHTS]


def simulated(case: Case, trace: Path, folder: Path) -> tuple[Scenario, Run]:
    """Return a case's scenario and its run in a folder."""
    starts = [round(GAP_S[case.pattern] * n * 1e9) for n in range(NUM_CLIENTS)]
    text = SCENARIO.format(
        num=NUM_CLIENTS,
        band=BAND_HZ,
        path=trace,
        offset=case.offset_s,
        sharing=SHARING[case.queue],
        upload=f"[{', '.join(f'{size} B' for size in sizes(trace))}]",
        compute=f"[{', '.join(f'{start} FLOP' for start in starts)}]",
    )
    scenario = parse_scenario(text, folder)
    run_scenario(scenario, folder / "run")
    return scenario, load_run(folder / "run")


def played(case: Case, trace: Path, folder: Path) -> pd.DataFrame:
    """Play a case and return a row per upload."""
    scenario, run = simulated(case, trace, folder)
    file, num_bytes = folder / "bytes", sizes(trace)
    file.write_bytes(np.random.default_rng(1).bytes(max(num_bytes)))
    plan = foresight.plan(run, scenario, [file] * NUM_CLIENTS)
    (parts,) = plan.rounds  # in the order of clients, with headers in their bytes
    own = (
        replace(part, up_bytes=size)
        for part, size in zip(parts, num_bytes, strict=True)
    )
    shape = Shape(
        DOWN_BPS,
        DOWN_BPS,
        [DOWN_BPS] * NUM_CLIENTS,
        case.queue == "fair",
        Trace(str(trace), case.offset_s),
    )
    done = play(replace(plan, rounds=(tuple(own),)), shape)
    rows = [
        (one.client_id, size, one.start_ns / 1e9, one.end_ns / 1e9, one.num_resent)
        for one, size in zip(done.uploads, num_bytes, strict=True)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return pd.DataFrame(case._asdict(), index=table.index).join(table)


def known(out: Path) -> Counter[tuple]:
    """Return how often a file has each case."""
    if not out.exists():
        return Counter()
    rows = pd.read_csv(out)[[*Case._fields, "repeat"]].drop_duplicates()
    return Counter(rows[list(Case._fields)].itertuples(index=False, name=None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    done = known(options.out)
    for repeat in range(1, max(REPEATS.values()) + 1):
        for case in cases(options.traces):
            while done[tuple(case)] < min(repeat, REPEATS[case.queue]):
                table = played_again(case, (options.traces / case.trace).resolve())
                table.insert(len(Case._fields), "repeat", done[tuple(case)] + 1)
                is_new = not options.out.exists()
                table.round(5).to_csv(options.out, mode="a", header=is_new, index=False)
                done[tuple(case)] += 1
                print(*case, done[tuple(case)], flush=True)


def played_again(case: Case, trace: Path) -> pd.DataFrame:
    """Return a play of a case, repeated where its processes came too late."""
    while True:
        with tempfile.TemporaryDirectory() as folder:
            try:
                return played(case, trace, Path(folder))
            except Refused as error:
                print(error, file=sys.stderr)
                sys.exit(2)
            except RuntimeError as error:
                print(*case, error, flush=True)


if __name__ == "__main__":
    main()

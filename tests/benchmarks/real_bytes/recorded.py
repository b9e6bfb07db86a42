"""Simulated against measured uploads over a link that follows a recorded trace.

    sudo python tests/benchmarks/real_bytes/recorded.py shared/data/cellular

Every play is simulated first, then played by processes in network namespaces, whose
uplink follows the trace by `tc` (follow.py). Appends to recorded.csv beside
results/real-bytes/README.md, a row per upload; plays that are there are left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import compare
import foresight
import numpy as np
import pandas as pd
from harness import play
from link import Refused, Shape, Trace

from netsim.channel.measured import read_capacity
from netsim.cosim.reading import parse_scenario
from netsim.cosim.run import run_scenario
from netsim.runs.run import load_run

OUT = Path("results") / "real-bytes" / "recorded.csv"
NUM_CLIENTS = 6
WEIGHTS = (1, 2, 4, 1, 2, 4)  # of the clients' sizes
BAND_HZ = 5_000_000
ROUND_S = 15  # that the uploads of a play take on the trace's mean rate
GAP_S = {"together": 0.0, "staggered": 1.0}
QUEUES = ("fair", "one")
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
    sharing: processor-sharing
    transport: {{payload: 1448 B, header: 52 B}}
  downlink: {{band: 5 MHz, radio: {{kind: per-hertz, reference_band: 5 MHz}}}}
  path_loss: {{kind: log-distance, exponent: 2, reference_loss: 40 dB}}
learning: {{kind: none, download: 0 B, upload: {upload}, compute: {compute}}}
"""


class Case(NamedTuple):
    """One play: a trace from an offset on, a pattern, and the kind of queue."""

    trace: str
    offset_s: float
    pattern: str
    queue: str


def cases(folder: Path, repeats: int) -> Iterator[Case]:
    """Yield every play: offsets spread over the trace, both patterns and queues."""
    for repeat in range(repeats):
        for path in sorted(folder.glob("*.up")):
            period_s = read_capacity(path, "mahimahi", BAND_HZ).period_ns / 1e9
            offset_s = round(period_s * (0.1 + repeat * 0.618 % 0.8), 1)
            for queue in QUEUES:
                for pattern in GAP_S:
                    yield Case(path.name, offset_s, pattern, queue)


def played(case: Case, trace: Path, file: Path, folder: Path) -> pd.DataFrame:
    """Simulate a case, play it, and return a row per upload."""
    mean_bps = (
        read_capacity(trace, "mahimahi", BAND_HZ).mean_efficiency_bit_s_hz * BAND_HZ
    )
    unit = mean_bps * ROUND_S / 8 / sum(WEIGHTS)
    sizes = [round(unit * weight) for weight in WEIGHTS]
    starts = [round(GAP_S[case.pattern] * n * 1e9) for n in range(NUM_CLIENTS)]
    text = SCENARIO.format(
        num=NUM_CLIENTS,
        band=BAND_HZ,
        path=trace,
        offset=case.offset_s,
        upload=[f"{size} B" for size in sizes],
        compute=[f"{start} FLOP" for start in starts],
    ).replace("'", "")
    scenario = parse_scenario(text, folder)
    run_scenario(scenario, folder / "run")
    run = load_run(folder / "run")
    file.write_bytes(np.random.default_rng(1).bytes(max(sizes)))
    plan = foresight.plan(run, scenario, [file] * NUM_CLIENTS)
    (parts,) = plan.rounds  # in the order of clients, with headers in their bytes
    own = (
        replace(part, up_bytes=size) for part, size in zip(parts, sizes, strict=True)
    )
    plan = replace(plan, rounds=(tuple(own),))
    shape = Shape(
        DOWN_BPS,
        DOWN_BPS,
        [DOWN_BPS] * NUM_CLIENTS,
        case.queue == "fair",
        Trace(str(trace), case.offset_s),
    )
    table = compare.uploads(play(plan, shape), foresight.expected(run))
    table = table.assign(**case._asdict(), num_bytes=sizes)
    return table[[*Case._fields, *table.columns.drop([*Case._fields, "round_id"])]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    known = set()
    if options.out.exists():
        rows = pd.read_csv(options.out)[list(Case._fields)]
        known = set(rows.itertuples(index=False, name=None))
    for case in cases(options.traces, options.repeats):
        if tuple(case) in known:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                trace = (options.traces / case.trace).resolve()
                table = played(case, trace, Path(folder) / "bytes", Path(folder))
            except Refused as error:
                print(error, file=sys.stderr)
                sys.exit(2)
            except RuntimeError as error:
                print(*case, error, flush=True)
                continue
        is_new = not options.out.exists()
        table.round(5).to_csv(options.out, mode="a", header=is_new, index=False)
        errors = compare.spread(table.completion_error)
        said = ", ".join(f"{name} {value:+.1%}" for name, value in errors.items())
        print(*case, said, flush=True)


if __name__ == "__main__":
    main()

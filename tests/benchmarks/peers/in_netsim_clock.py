"""A fleet's rounds here, learning off: python in_netsim_clock.py FLEET.json ANSWER.json

FLEET has ``compute_s`` and ``rate_mbps`` of each client, ``bits`` of an upload,
``mode`` (sync or async), ``completions`` and ``band_mhz`` of the cell.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.runs.run import load_run

ASYNC = "{kind: asynchronous, concurrency: %d, mixing: 0.6, merge_time: 0 s}"


def overrides(fleet: dict) -> list[str]:
    """Return what makes the scenario this fleet's."""
    count = len(fleet["compute_s"])
    ticks = ", ".join(f"{round(s * 1e9)} FLOP" for s in fleet["compute_s"])
    bands = ", ".join(f"{rate} MHz" for rate in fleet["rate_mbps"])
    is_sync = fleet["mode"] == "sync"
    rounds = fleet["completions"] // count if is_sync else fleet["completions"]
    told = [
        f"population.num_clients={count}",
        f"population.radio_band=[{bands}]",
        f"cell.uplink.band={fleet['band_mhz']} MHz",
        f"learning.upload={fleet['bits'] / 8e6} MB",
        f"learning.compute=[{ticks}]",
        f"stop.rounds={rounds}",
    ]
    down = "cell.downlink"
    one_by_one = [f"{down}.mode=unicast", f"{down}.sharing=processor-sharing"]
    return told if is_sync else [*told, f"server={ASYNC % count}", *one_by_one]


def main() -> None:
    fleet = json.loads(Path(sys.argv[1]).read_text())
    scenario = read_scenario(
        Path(__file__).with_name("fleet.yaml"), tuple(overrides(fleet))
    )
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.process_time()
        run_scenario(scenario, Path(folder) / "run")
        cpu_s = time.process_time() - began_s
        ends = load_run(Path(folder) / "run").rounds.end_ns
    answer = {"ends_s": [int(end) / 1e9 for end in ends], "cpu_s": cpu_s}
    Path(sys.argv[2]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()

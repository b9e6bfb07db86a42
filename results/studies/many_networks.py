"""The cost of a study of N networks relative to one run, without retraining.

python results/studies/many_networks.py FOLDER          # N = 1, 10, 50

The quickstart (25 rounds, 20 clients) on N uplinks from 1 to 100 MHz, one seed, one
process, each N with an empty store. The model is counted and pre-trained beforehand.
FOLDER must not exist. Writes networks.csv to this folder.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import netsim

HERE = Path(__file__).parent
NUMBERS = (1, 10, 50)
STUDY = """\
name: networks
scenario: quickstart
axes:
  - path: cell.uplink.band
    values: [{bands}]
seeds: [1]
targets: [{{metric: accuracy, level: 0.8}}]
baseline: {{band: {first}}}
"""


def text(num: int) -> str:
    """Return the study of N networks, as YAML."""
    bands = [f"{band:.0f} kHz" for band in np.geomspace(1e3, 1e5, num)]
    return STUDY.format(bands=", ".join(bands), first=bands[0])


def prepared(cache: Path) -> None:
    """Fill an empty store with the model, as an earlier run would."""
    os.environ["XDG_CACHE_HOME"] = str(cache)
    netsim.run("quickstart", "stop.rounds=1", "seed=9", out=cache / "first")


def measured(num: int, folder: Path) -> dict[str, float]:
    """Return the cost of a study of N networks."""
    prepared(folder / f"cache-{num}")
    path = folder / f"networks-{num}.yaml"
    path.write_text(text(num))
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    study = netsim.run_study(path, out=folder / f"study-{num}")
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    runs = [netsim.load_run(run) for run in sorted(study.folder.glob("runs/*/*"))]
    return {
        "networks": num,
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "steps_trained": sum(run.manifest.steps_trained for run in runs),
        "steps_reused": sum(run.manifest.steps_reused for run in runs),
        "shortest_to_target_s": study.table.time_ns.min() / 1e9,
        "longest_to_target_s": study.table.time_ns.max() / 1e9,
    }


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True)
    rows: list[dict[str, float]] = []
    for num in NUMBERS:
        rows.append(measured(num, folder))
        table = pd.DataFrame(rows)
        table["cpu_over_one_run"] = (table.cpu_s / table.cpu_s[0]).round(2)
        table.to_csv(HERE / "networks.csv", index=False)
        print(table.to_string(), flush=True)


if __name__ == "__main__":
    main()

"""Identical uploads merged by every method: merge error and accuracy of the model.

netsim study results/merges/drift.yaml --out results/studies/merges-drift
python results/merges/identical.py results/studies/merges-drift

What `netsim merge-study RUN --evaluate` does, for every run of the study, all rounds.
Writes identical.csv to this folder, one row per setting, seed, round and method.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import netsim
from netsim.cosim.commands.merge_study import compare_merges
from netsim.study import folder_name

HERE = Path(__file__).parent
METHODS = (
    "fedit",
    "hetlora",
    "lora-fair",
    "flora-na",
    "florist",
    "free-als",
    "thin-svd",
    "residual",
    "full-average",
)


def merged(folder: Path) -> pd.DataFrame:
    """Return the merges of every round's uploads by each method."""
    found = compare_merges(folder, methods=METHODS, evaluate=True)
    assert found.is_same, f"{folder} came out otherwise than recorded"
    return found.merges


def main() -> None:
    study = Path(sys.argv[1])
    table = netsim.load_study(study).table
    frames = []
    for run in table[table.status == "complete"].itertuples():
        folder = study / "runs" / folder_name(run.setting) / str(run.seed)
        names = {"setting": run.setting, "seed": run.seed}
        frames.append(merged(folder).assign(**names))
        print(run.setting, run.seed, flush=True)
        rows = pd.concat(frames)
        columns = ["setting", "seed", "round_id", "method", "mean_error"]
        rows = rows[[*columns, "loss", "accuracy", "host_s"]]
        rows.round(6).to_csv(HERE / "identical.csv", index=False)


if __name__ == "__main__":
    main()

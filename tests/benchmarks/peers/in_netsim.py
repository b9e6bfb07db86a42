"""The work here: a whole `netsim run` of the scenario, network and trace included.

python in_netsim.py FOLDER SEED [path=value ...]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from client import mark
from export import scenario

from netsim.cosim.run import run_scenario
from netsim.server.stage import Progress


def note(progress: Progress) -> None:
    """Note that a round is over."""
    mark(progress.round_id, progress.scores[0].accuracy)


def main() -> None:
    folder, seed, *overrides = sys.argv[1:]
    config = scenario(int(seed), tuple(overrides))
    run_scenario(config, Path(folder) / "run", reuse=False, watch=note)
    shutil.copy(Path(folder) / "run" / "adapter" / "adapter_model.safetensors", folder)


if __name__ == "__main__":
    main()

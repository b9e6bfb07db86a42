"""A small study, written down, and killed while it runs."""

import os
import signal
import sys
import time

from netsim.runs.manifest import FILE_NAME, read_manifest
from tests.support.warm_workers import WarmCommand

TINY = """\
name: tiny
scenario: quickstart
overrides:
  - stop.rounds=2
  - learning.training.local_steps=1
  - population.num_clients=6
axes:
  - name: policy
    variants:
      - {name: all, overrides: [server.sampling=full]}
      - {name: some, overrides: ["server.sampling={kind: uniform, num_drawn: 3}"]}
  - path: cell.uplink.band
    values: [1 MHz, 2 MHz]
seeds: [1, 2]
targets: [{metric: loss, level: 1.65}, {metric: accuracy, level: 0.99}]
baseline: {policy: all}
"""


def written(tmp_path, text=TINY, name="tiny.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def complete(folder):
    """Return when each finished run of a study was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.glob(f"runs/*/*/{FILE_NAME}")
        if read_manifest(path.parent).status == "complete"
    }


def killed_midway(path, folder, *more):
    """Run a study with two workers and kill it once two runs are finished."""
    words = map(str, ("study", path, "--out", folder, "--workers=2", *more))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    outputs = (path.with_name(f"printed.{name}") for name in ("out", "err"))
    study = WarmCommand(list(words), environment, *outputs)
    deadline_s = time.monotonic() + 300
    while len(complete(folder)) < 2:
        assert study.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.kill(study.pid, signal.SIGKILL)
    study.wait(60)
    time.sleep(0.5)  # its workers see it go, and go

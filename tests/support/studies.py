"""A small study, written down, and killed while it runs."""

import os
import signal
import subprocess
import sys
import time

from netsim.runs.manifest import FILE_NAME, read_manifest

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
    code = "from netsim.cli import main\nif __name__ == '__main__':\n    main()\n"
    script = path.with_name("command.py")
    script.write_text(code)
    command = [
        sys.executable,
        script,
        "study",
        path,
        "--out",
        folder,
        "--workers=2",
        *more,
    ]
    study = subprocess.Popen(
        [*command, *more], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    deadline_s = time.monotonic() + 300
    while len(complete(folder)) < 2:
        assert study.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    study.send_signal(signal.SIGKILL)
    study.wait()
    time.sleep(0.5)  # its workers see it go, and go

"""The same scenario elsewhere: whatever must not matter is changed, the digest stays.

``python -m tests.torture.determinism --out DIR``

What may differ between machines: with learning, the last digits of floating-point
numbers (another processor, torch, number of GPUs), and so ``digest``; never
``network_digest`` where learning does not steer time. Host figures are in no digest.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (
    "import json, os, sys; os.umask(int(sys.argv.pop(1), 8));"
    "from netsim.cli import main; sys.argv[0] = 'netsim'; main()"
)
SHORT = {
    "network-only": ("stop={rounds: 5}",),
    "quickstart": ("stop={rounds: 2}", "learning.training.local_steps=2"),
}
PLAIN = {"umask": "022", "env": {}, "words": (), "turned": False, "folder": "."}
CHANGES = {
    "nothing": {},
    "another hash seed": {"env": {"PYTHONHASHSEED": "12345"}},
    "another locale": {"env": {"LC_ALL": "C.UTF-8", "LANG": "de_DE.UTF-8"}},
    "no locale": {"env": {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}},
    "another time zone": {"env": {"TZ": "Pacific/Chatham"}},
    "another folder": {"folder": "a folder, far/away"},
    "another umask": {"umask": "077"},
    "keys in another order": {"turned": True},
    "two workers": {"words": ("--workers", "2"), "learns": True},
}
COLUMNS = ("scenario", "change", "digest", "same")


def turned(data):
    """Return a document with the keys of every mapping in the opposite order."""
    if isinstance(data, dict):
        return {key: turned(data[key]) for key in reversed(data)}
    return [turned(one) for one in data] if isinstance(data, list) else data


def digest_under(name, change, folder):
    """Run a scenario under a change and return its digest."""
    given = {**PLAIN, **CHANGES[change]}
    place = folder / given["folder"]
    place.mkdir(parents=True, exist_ok=True)
    data = yaml.safe_load((ROOT / "scenarios" / f"{name}.yaml").read_text())
    text = yaml.safe_dump(turned(data) if given["turned"] else data, sort_keys=False)
    (place / "scenario.yaml").write_text(text)
    shutil.rmtree(place / "run", ignore_errors=True)
    sets = [word for setting in SHORT[name] for word in ("--set", setting)]
    words = ["run", "scenario.yaml", *sets, *given["words"], "--out", "run"]
    words.append("--fresh")  # else a change would meet what another one learned
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, given["umask"], *words, "--quiet", "--json"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), **given["env"]},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["digest"]


def changes_of(name):
    """Return which changes a scenario can be put under."""
    learns = name == "quickstart"
    return [c for c, given in CHANGES.items() if learns or not given.get("learns")]


def main():
    """Write ``determinism.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "determinism.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for name in SHORT:
            right = digest_under(name, "nothing", given.out)
            for change in changes_of(name):
                found = digest_under(name, change, given.out)
                row = {"scenario": name, "change": change, "digest": found[:16]}
                row["same"] = found == right
                writer.writerow(row)
                print(row, flush=True)


if __name__ == "__main__":
    main()

"""The same scenario under changes that must not affect the digest.

``python -m tests.torture.determinism --out DIR``

Between machines (another processor, torch, number of GPUs) learning may differ in the
last digits of floating-point numbers, and so may ``digest``. ``network_digest`` must
not differ if learning does not affect time. Host figures are in no digest.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.torture.table import Table

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
    "three workers": {"words": ("--workers", "3"), "learns": True},
}
STUDY = """\
name: paired
scenario: network-only
overrides: [stop.rounds=5]
axes: [{path: cell.uplink.band, values: [1 MHz, 2 MHz]}]
seeds: [1, 2]
baseline: {band: 1 MHz}
"""
COLUMNS = ("scenario", "change", "digest", "same")


def turned(data):
    """Return a document with the keys of every mapping in reverse order."""
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
    printed = _called(words, place, given["umask"], given["env"])
    return json.loads(printed.splitlines()[-1])["digest"]


def _called(words, place, umask, env):
    """Run ``netsim WORDS`` in a folder and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, umask, *words, "--quiet", "--json"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def study_digest(folder, *words):
    """Run a study of four runs and return the digest of their digests."""
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY)
    words = ["study", "study.yaml", "--out", "done", *words]
    _called(words, folder, PLAIN["umask"], {})
    runs = sorted((folder / "done").rglob("manifest.json"))
    digests = [json.loads(path.read_text())["digest"] for path in runs]
    assert len(digests) == 4
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def changes_of(name):
    """Return the changes that apply to a scenario."""
    learns = name == "quickstart"
    return [c for c, given in CHANGES.items() if learns or not given.get("learns")]


def main():
    """Write ``determinism.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "determinism.csv", COLUMNS, num_keys=2)

    def put(name, change, found, right):
        row = {"scenario": name, "change": change, "digest": found[:16]}
        table.put({**row, "same": found == right})
        print({**row, "same": found == right}, flush=True)

    for name in SHORT:
        right = digest_under(name, "nothing", given.out)
        for change in changes_of(name):
            put(name, change, digest_under(name, change, given.out), right)
    shutil.rmtree(given.out / "study", ignore_errors=True)
    right = study_digest(given.out / "study" / "one", "--workers", "1")
    put("a study of four runs", "one worker", right, right)
    found = study_digest(given.out / "study" / "two", "--workers", "2")
    put("a study of four runs", "two workers", found, right)


if __name__ == "__main__":
    main()

"""Play patterns in an LTE cell of ns-3 and append a row per message.

    python in_ns3.py patterns.json uploads.csv

Runs under a Python that has ns3 and cppyy (README.md), not netsim's. `patterns.json`
is a list of plays (`plays.py` writes it); those that `uploads.csv` has already are left
out, so that a run that was interrupted goes on. Each play is a process of its own.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from pathlib import Path

import cppyy
from ns import ns  # noqa: F401

HERE = Path(__file__).parent
COLUMNS = (
    *("pattern", "scheduler", "buffers", "seed", "phone"),
    *("distance_m", "bytes", "start_s", "leave_s", "end_s", "received_bytes", "cpu_s"),
)
IDENTITY = COLUMNS[:4]
LIMIT_S = 400.0
CELL = {
    "blocks": 50,
    "exponent": 3.76,
    "referenceLossDb": 15.3,
    "uePowerDbm": 23.0,
    "enbPowerDbm": 46.0,
    "gainDbi": 15.0,
    "wireDelayS": 0.01,
}


def settings(play: dict):
    """Return the settings of a play for ``Play`` of cell.cc."""
    found = cppyy.gbl.Settings()
    for name, value in CELL.items():
        setattr(found, name, value)
    found.proportionalFair = play["scheduler"] == "proportional-fair"
    found.shipped = play["buffers"] == "shipped"
    found.downlink = play["downlink"]
    found.seed = play["seed"]
    return found


def rows(play: dict) -> list[tuple]:
    """Return what happened to each phone of a play."""
    vector = cppyy.gbl.std.vector["double"]
    phones = play["phones"]
    columns = zip(*phones, strict=True)
    distances, sizes, starts, leaves = (list(map(float, one)) for one in columns)
    began_s = time.process_time()
    happened = cppyy.gbl.Play(
        settings(play),
        *(vector(one) for one in (distances, [0.0] * len(phones), sizes, starts)),
        vector(leaves),
        LIMIT_S,
    )
    cpu_s = round(time.process_time() - began_s, 2)
    keys = [play[name] for name in IDENTITY]
    return [
        (*keys, phone, *phones[phone], round(end_s, 6), int(got), cpu_s)
        for phone, (end_s, got) in enumerate(
            zip(happened.seconds, happened.bytes, strict=True)
        )
    ]


def append(play: dict, path: Path) -> None:
    """Play in a process of its own, since ns-3 keeps global state, and append."""
    child = os.fork()
    if not child:
        found = rows(play)
        with path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(found)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    name = " ".join(str(play[one]) for one in IDENTITY)
    print(name, "failed" if status else "done", flush=True)


def main() -> None:
    plays, path = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n")
    with path.open() as file:
        known = {tuple(row[name] for name in IDENTITY) for row in csv.DictReader(file)}
    cppyy.cppdef((HERE / "cell.cc").read_text())
    for play in plays:
        if tuple(str(play[name]) for name in IDENTITY) not in known:
            append(play, path)


if __name__ == "__main__":
    main()

"""Simulated rounds of the same fleets here, in APPFL and in FLGo; learning off.

    python tests/benchmarks/peers/clocks.py PEERS [--repeats 3] [--out CSV]

PEERS holds the environments that ``build.sh`` made; who has none there is left out.
Every clock has a process of its own and all take turns; CPU seconds are those of the
simulation alone, without imports. Ours comes twice: with the band shared, and on a band
so wide that no two clients share it, which is what the others compute.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
WIDE_MHZ = 10_000.0
RATE_MBPS = 10.0  # of a radio
ALONE = "netsim, not shared"  # the first in turn: the others' ends are set beside it
Row = dict[str, object]


@dataclass(frozen=True)
class Fleet:
    """Clients that compute for a time and then send some bits, again and again."""

    compute_s: list[float]
    band_mhz: float  # of a cell with one bit per second and hertz
    mode: str = "sync"
    completions: int = 10
    bits: int = 9_600_000
    unit_s: float = 0.001  # of FLGo's clock

    def told(self) -> str:
        """Return the fleet as the scripts read it."""
        return json.dumps(
            {**asdict(self), "rate_mbps": [RATE_MBPS] * len(self.compute_s)}
        )


def small() -> dict[str, Fleet]:
    """Return ten clients on 20 Mbit/s, whose rounds one can check by hand."""
    return {
        "ten together": Fleet([0.0] * 10, band_mhz=20.0),
        "ten, 0.2 s apart": Fleet([0.2 * n for n in range(10)], band_mhz=20.0),
    }


def large(count: int, completions: int) -> dict[str, Fleet]:
    """Return unequal clients, with 2 Mbit/s of the cell for each."""
    rng = random.Random(1)
    drawn = [round(rng.expovariate(1.0), 3) for _ in range(count)]
    fleet = Fleet(drawn, band_mhz=2.0 * count, completions=completions)
    return {
        f"{count} clients, synchronous": fleet,
        f"{count} clients, asynchronous": replace(fleet, mode="async"),
    }


def commands(peers: Path) -> dict[str, list[str]]:
    """Return how each clock is run."""
    here = [sys.executable, str(HERE / "in_netsim_clock.py")]
    found = {ALONE: here, "netsim, shared": here}
    for name in ("appfl", "flgo"):
        if (peers / name / "versions.txt").exists():
            python = peers / name / "bin" / "python"
            found[name] = [str(python), str(HERE / f"in_{name}.py")]
    return found


def answer(command: list[str], fleet: Fleet) -> dict:
    """Return when rounds end, or arrivals are merged, and the CPU seconds."""
    with tempfile.TemporaryDirectory() as place:
        asked, answered = Path(place) / "fleet.json", Path(place) / "answer.json"
        asked.write_text(fleet.told())
        subprocess.run(
            [*command, str(asked), str(answered)],
            check=True,
            capture_output=True,
            env={
                **os.environ,
                "PYTHONPATH": str(HERE.parents[2]),
                "OMP_NUM_THREADS": "1",
            },
        )
        return json.loads(answered.read_text())


def distance(one: float, other: float) -> float:
    """Return how far apart two moments are."""
    return abs(one - other)


def rows(peers: Path, given: dict[str, Fleet], repeat: int) -> Iterator[Row]:
    """Yield what each clock says of each fleet, and what it takes."""
    for name, fleet in given.items():
        alone: list[float] = []  # by our clock, nothing shared
        for clock, command in commands(peers).items():
            is_wide = clock == ALONE
            asked = replace(fleet, band_mhz=WIDE_MHZ) if is_wide else fleet
            found = answer(command, asked)
            ends = found["ends_s"]
            alone = ends if is_wide else alone
            yield {
                "fleet": name,
                "clock": clock,
                "repeat": repeat,
                "completions": fleet.completions,
                "last_end_s": ends[-1],
                "num_ends": len(ends),
                "cpu_s": found["cpu_s"],
                "completions_per_cpu_s": fleet.completions / found["cpu_s"],
                "gap_to_not_shared_s": max(map(distance, ends, alone)),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--completions", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found = []
    for repeat in range(asked.repeats):
        given = {} if repeat else small()
        for count in asked.clients:
            given |= large(count, asked.completions)
        for row in rows(asked.peers, given, repeat):
            print(*row.values(), sep="  ", flush=True)
            found.append(row)
    if asked.out is not None:
        with asked.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()

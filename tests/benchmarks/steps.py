"""Measure training steps of seven models on this host; fit laws on half, judge on half.

python tests/benchmarks/steps.py --csv FILE [--judge]; with --judge the file is read.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from fl.contract import Work
from fl.step_times import PRECISIONS, Setting, StepTime, settings, step_time
from netsim.cosim.commands.sweep import error_lines, judge

COUNTS = (
    *("flop", "half_flop", "product_bytes", "other_bytes", "operations"),
    *("blocks", "large_bytes"),
)


def written(path: Path, found: list[StepTime]) -> None:
    """Write step times as a CSV file."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*Setting._fields, "step_s", *COUNTS])
        for one in found:
            counts = [getattr(one.work, name) for name in COUNTS]
            rows.writerow([*one.setting, f"{one.step_s:.5g}", *counts])


def read(path: Path) -> list[StepTime]:
    """Return the step times of a CSV file."""
    with path.open(newline="") as file:
        return [
            StepTime(
                Setting(
                    *(row["model"], row["precision"]),
                    *(int(row["batch_size"]), int(row["length"])),
                ),
                float(row["step_s"]),
                Work(**{name: int(row[name]) for name in COUNTS}, steps=1),
            )
            for row in csv.DictReader(file)
        ]


def main() -> None:
    """Measure or read the table, and print the errors of the law and of one rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", required=True, type=Path)
    parser.add_argument("--judge", action="store_true")
    given = parser.parse_args()
    if not given.judge:
        written(
            given.csv, [step_time(one) for name in PRECISIONS for one in settings(name)]
        )
    found = read(given.csv)
    for line in error_lines(judge(found)):
        print(line)


if __name__ == "__main__":
    main()

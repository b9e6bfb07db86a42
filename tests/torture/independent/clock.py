"""The clock in exact integers: ``python -m tests.torture.independent.clock --runs 91``."""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import netsim

from .cases import clock_case
from .formulas import share_error
from .given import given_of
from .stories import play


def _whole(value):
    return None if str(value) in ("<NA>", "nan", "None") else int(value)


def differences(run, given):
    """Return what the reference says otherwise: (what, trace, reference)."""
    world, found = play(given), []
    last = int(run.rounds.end_ns.max())
    for key in sorted(given.rows.keys() | world.transfers.keys(), key=str):
        row, ours = given.rows.get(key), world.transfers.get(key)
        theirs = row is not None and (int(row.start_ns), int(row.end_ns), row.status)
        if theirs and ours is None and theirs[1] == last and row.status != "done":
            continue  # under way when the run ended
        if ours is not None and ours[2] == "cut" and theirs:
            ours = (*ours[:2], theirs[2] if theirs[2] != "done" else "cut")
        if row is None and ours[1] >= last:
            continue
        if ours != theirs:
            found.append((key, theirs, ours))
    for row in run.tasks.itertuples():
        task = world.tasks.get(int(row.task_id))
        for name in ("compute_start", "upload_start", "end"):
            theirs = _whole(getattr(row, f"{name}_ns"))
            if row.status == "unfinished" and name == "end":
                continue
            ours = task and task.ticks.get(name)
            if theirs != ours and not (name == "end" and row.status == "unmerged"):
                found.append(((name, int(row.task_id), row.status), theirs, ours))
    for row, ours in zip(run.rounds.itertuples(), world.rounds):
        theirs = (
            row.round_id,
            row.start_ns,
            row.end_ns,
            row.num_merged,
            row.num_dropped,
        )
        if tuple(map(int, theirs)) != ours:
            found.append(("round", tuple(map(int, theirs)), ours))
    if len(run.rounds) != len(world.rounds):
        found.append(("rounds", len(run.rounds), len(world.rounds)))
    if world.up.largest_uhz > given.up_uhz:
        found.append(("shares above the band", given.up_uhz, world.up.largest_uhz))
    return found


def audit(number, folder):
    """Return one row: a case, its size, and where clock and shares differ."""
    scenario = clock_case(number)
    run = netsim.run(scenario, out=Path(folder) / f"{number}")
    given = given_of(run, scenario)
    found = differences(run, given)
    up = scenario["cell"]["uplink"]
    return {
        "case": number,
        "rule": up["sharing"],
        "server": scenario["server"]["kind"],
        "radio": up["radio"]["kind"],
        "fading": scenario["cell"].get("fading", {}).get("kind", "none"),
        "rounds": len(run.rounds),
        "tasks": len(run.tasks),
        "transfers": len(run.transfers),
        "differences": len(found),
        "share_error": share_error(run, scenario, given),
    }, found


def main():
    """Audit runs and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=91)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    begun, rows = time.process_time(), []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.first, options.first + options.runs):
            row, found = audit(number, folder)
            rows.append(row)
            for one in found[:3]:
                print(number, row["rule"], row["server"], *one, sep=" | ")
    with (options.out / "independent-clock.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    wrong = sum(row["differences"] > 0 for row in rows)
    transfers = sum(row["transfers"] for row in rows)
    print(f"{len(rows)} runs, {transfers} transfers, {wrong} runs with differences")
    print(f"{time.process_time() - begun:.1f} s of processor time")


if __name__ == "__main__":
    main()

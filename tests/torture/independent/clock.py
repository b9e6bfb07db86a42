"""Runs against a clock in exact integers."""

import tempfile
from collections import Counter, defaultdict
from itertools import zip_longest
from pathlib import Path

import netsim
from tests.torture.independent.cases import clock_case
from tests.torture.independent.formulas import share_errors
from tests.torture.independent.given import given_of
from tests.torture.independent.stories import play

LIMIT = 1e-9  # of the band, for a share that a float decides
LIMITS = {"work-conserving": 2e-6}  # its weights are millionths of the band


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
    columns = ["round_id", "start_ns", "end_ns", "num_merged", "num_dropped"]
    theirs = [tuple(map(int, row)) for row in run.rounds[columns].to_numpy()]
    found += [
        ("round", *pair)
        for pair in zip_longest(theirs, world.rounds)
        if pair[0] != pair[1]
    ]
    if world.up.largest_uhz > given.up_uhz:
        found.append(("shares above the band", given.up_uhz, world.up.largest_uhz))
    return found


def audit(number, folder):
    """Return the rule of a case, its size, what differs, and the errors of shares."""
    scenario = clock_case(number)
    run = netsim.run(scenario, out=Path(folder) / f"{number}")
    given = given_of(run, scenario)
    found = differences(run, given)
    return given.sharing, len(run.transfers), found, share_errors(run, scenario, given)


def rows(num_runs):
    """Yield one row per sharing rule for its ticks, and one for its shares."""
    sizes, wrong, errors = Counter(), Counter(), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_runs):
            rule, size, found, shares = audit(number, folder)
            sizes[rule] += size
            wrong[rule] += len(found)
            errors[rule] += shares
            for one in found[:3]:
                print(number, rule, *one, sep=" | ")
    for rule, size in sorted(sizes.items()):
        yield "ticks of transfers", rule, size, wrong[rule], 0, wrong[rule]
    for rule, found in sorted((rule, all_) for rule, all_ in errors.items() if all_):
        limit = LIMITS.get(rule, LIMIT)
        far = sum(not error <= limit for error in found)
        yield "shares of rounds", rule, len(found), max(found), limit, far

"""All figures in one page: ``python -m tests.torture.report FOLDER`` reads the tables
that the beds wrote below a folder and writes ``results/reliability.md`` and the tables
beside it.
"""

import argparse
import csv
import os
import platform
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "results"
HEAD = """\
# Hard to kill, hard to fool

What happened to netsim under faults and bad input. Each table is made by the command
above it, all of them by `make torture`; `make test` has a short form of each. A fault
is a traceback, a wrong number, another digest, a lost or left-over file, or a command
that says nothing. Tables as CSV: [`reliability/`](reliability).

The tables say how many cases they are made of: a shorter run than the command's own
makes fewer. Measured with Python {python} on {system}, torch {torch}, {machine}.

Found by these beds, and mended at the root with a test each: a run killed before its
first file was there could not be gone on with; an interrupt while a library read the
scenario was a traceback, or without a word; a resumed run that was interrupted at once
left a manifest of parts that were gone; a cached result under another's name was taken
for it; a run started from an adapter that its manifest disowned; a scenario that was no
text ended `verify` in a traceback; `check` of a plan that was none, before anything was
counted, was content; nested JSON could end in a traceback; the lower ends of five
dependencies did not work.
"""
BEDS = {
    "bad-input": (
        "Bad input",
        "bad_input --cases 10000",
        "Scenarios and studies changed by their schema (`structure`, `drawn`) or by "
        "their bytes; checked, planned, or run for two rounds (`run`, where a right "
        "scenario may last: `slow`). At most 5 s of processor time and 1 GB.",
    ),
    "data-files": (
        "Data files",
        "data_files --cases 2000",
        "Damaged and hostile tables, traces, partitions and plans; `named` is how many "
        "refusals name the file.",
    ),
    "extremes": (
        "Numbers",
        "extremes",
        "Scenarios at the ends of what numbers allow, each audited by `netsim verify`. "
        "What is not finite: `tests/cosim/test_divergence.py`; singular merges: "
        "`tests/torture/test_extremes.py`.",
    ),
    "bit-rot": (
        "Bit rot",
        "bit_rot --cases 1000",
        "One file of a folder damaged: of a finished run, of the store of finished "
        "learning, or of a run's adapter. How often each reader said so, by damage and "
        "in all; else what it read was intact, and right: digests and every table are "
        "compared, a run leaves the store whole, a merge is the average of what the "
        "files say. `start of a run` takes the adapter where its manifest lists it, "
        "`start` a copy of it elsewhere, which nobody can know to be damaged as long "
        "as it is an adapter. A swap that changes no byte is no case.",
    ),
    "crash": (
        "Crashes",
        "crash --kills 200",
        "Ended at random moments and gone on with until done; `in time` before its "
        "end. Every digest must be that of the undisturbed run, no part unreadable, no "
        "draft left over. SIGTERM and Ctrl-C: `crash --signal SIGTERM` and `--signal "
        "SIGINT`, exit code 130, gone on with by the command that it prints. Two "
        "workers: `worker_faults`; a run that loses one goes on by itself, so none is "
        "ended in time; without memory the first allocation beyond a limit fails in "
        "both, which is one message and exit code 2.",
    ),
    "disk": (
        "Disk",
        "disk",
        "A disk of 64 kB, full or read-only; folders of others, and places that no run "
        "may have. When the cause is gone the run goes on to the right digest.",
    ),
    "determinism": (
        "Determinism",
        "determinism",
        "What must not matter. Between machines `network_digest` must agree where "
        "learning does not steer time; `digest` may differ by the last digits of "
        "floating-point numbers.",
    ),
    "supply": (
        "Supply",
        "supply --ends",
        "The lowest release of every range in `setup.cfg`, of the extras too, and the "
        "newest that fit together, each in an environment of its own; torch alone is "
        "the same in both.",
    ),
}


def as_table(rows):
    """Return rows of text as a Markdown table, the first one its head."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(name, rows):
    """Return one bed's heading, command, text and table."""
    title, command, text = BEDS[name]
    shown = f"`python -m tests.torture.{command} --out DIR`"
    return f"## {title}\n\n{shown}\n\n{text}\n\n{as_table(rows)}\n"


def rows(folder, name):
    """Return the rows of all tables of a name below a folder, under one head."""
    found = []
    for path in sorted(folder.rglob(f"{name}.csv")):
        with path.open(newline="") as file:
            head, *body = csv.reader(file)
        assert found[:1] in ([], [head]), f"{path} has other columns"
        found = [head, *found[1:], *body]
    return found


def page(folder, machine):
    """Return the page on all beds that left a table below a folder."""
    head = HEAD.format(
        python=platform.python_version(),
        system=platform.system(),
        torch=metadata.version("torch"),
        machine=machine,
    )
    found = {name: rows(folder, name) for name in BEDS}
    return "\n".join(
        [head, *(section(name, body) for name, body in found.items() if body)]
    )


def main():
    """Write the page, and the tables beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--machine", default=f"{os.cpu_count()} cores")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    (given.out / "reliability").mkdir(parents=True, exist_ok=True)
    (given.out / "reliability.md").write_text(page(given.folder, given.machine))
    for name in BEDS:
        if found := rows(given.folder, name):
            path = given.out / "reliability" / f"{name}.csv"
            with path.open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(found)


if __name__ == "__main__":
    main()

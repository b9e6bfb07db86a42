"""All figures in one page: ``python -m tests.torture.report FOLDER`` reads the tables
that the beds wrote below a folder and writes ``results/reliability.md`` and the tables
beside it.
"""

import argparse
import csv
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
makes fewer. Measured with Python {python} on {system}, torch {torch}.
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
        "What is not finite: `tests/test_divergence.py`; singular merges: "
        "`tests/test_torture_numbers.py`.",
    ),
    "bit-rot": (
        "Bit rot",
        "bit_rot --cases 1000",
        "One file of a finished run damaged; in how many cases each reader said so "
        "(else what it read was intact, and right).",
    ),
    "crash": (
        "Crashes",
        "crash --kills 200",
        "Killed (SIGKILL) at random moments and gone on with until done; `in time` "
        "before its end. Every digest must be that of the undisturbed run.",
    ),
    "disk": (
        "Disk",
        "disk",
        "A disk of 64 kB, full or read-only, and places that no run may have.",
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
        "Both ends of every dependency's range, but for torch and what is built "
        "against it, which were tried as named.",
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


def page(folder):
    """Return the page on all beds that left a table below a folder."""
    head = HEAD.format(
        python=platform.python_version(),
        system=platform.system(),
        torch=metadata.version("torch"),
    )
    sections = [head]
    for name in BEDS:
        for path in sorted(folder.rglob(f"{name}.csv")):
            with path.open(newline="") as file:
                sections.append(section(name, [*csv.reader(file)]))
    return "\n".join(sections)


def main():
    """Write the page, and the tables beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    (given.out / "reliability").mkdir(parents=True, exist_ok=True)
    (given.out / "reliability.md").write_text(page(given.folder))
    for name in BEDS:
        for path in given.folder.rglob(f"{name}.csv"):
            place = given.out / "reliability" / path.name
            place.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))


if __name__ == "__main__":
    main()

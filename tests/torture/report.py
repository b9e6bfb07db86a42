"""The page of all test beds: ``python -m tests.torture.report FOLDER``.

Reads the tables that the beds wrote below a folder; writes ``results/reliability.md``
and the CSV files in ``results/reliability``.
"""

import argparse
import csv
import os
import platform
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "results"
HEAD = """\
# Reliability under faults and bad input

How netsim behaves under faults and bad input. The command above each table produces it,
and `make torture` produces all of them; `make test` has a short form of each. A fault
is a traceback, a wrong number, a different digest, a lost or left-over file, or a
command without a message. Tables as CSV: [`reliability/`](reliability).

Each table states its number of cases; a run with smaller options has fewer. Measured
with Python {python} on {system}, torch {torch}, {machine}.

These test beds found the following faults, each of which is fixed and has a test:

* A run that was killed before it had written its first file could not be resumed.
* An interrupt while a library read the scenario gave a traceback or no message.
* A resumed run that was interrupted at once left a manifest that listed missing parts.
* A cached result under the name of another was taken for that one.
* A run started from an adapter that did not match its manifest.
* `verify` gave a traceback for a scenario that was not text.
* `check` accepted an invalid plan before the model was counted.
* Nested JSON could give a traceback.
* The lowest versions of five dependencies did not work.
* A search took an error of the disk for a trial that failed, or ended in a traceback.
* A draft of the adapter that a killed run had left stayed in its folder.
* `verify` did not know that a round without clients waits for a late one.
* Two processes held one folder, where a file system granted locks now and then.
* A user could not take over a folder whose lock another user's killed process had left.
* An entry of the store that another user had written ended a run with an error.
* Two merges wrote one draft, where a file system has no locks.
* A stranger's model or tokenizer could give a traceback.
* A loss of power could take the names of new folders, and a merge's whole content.
* A merge refused a folder for ever, or wrote another's draft, where a file system
  granted locks only now and then.
* An adapter could make `merge --with-model` import a module of its choice, or hang it
  by a pattern; a pipe as base delta hung every merge.
* `verify` took an update's way over a backhaul for a message that starts in a cell.
"""
BEDS = {
    "bad-input": (
        "Bad input",
        "bad_input --cases 10000",
        "Scenarios and studies changed by their schema (`structure`, `drawn`) or "
        "by their bytes; they are checked, planned, or run for two rounds (`run`; "
        "a valid scenario may take long, which counts as `slow`). The limits are "
        "5 s of processor time and 1 GB. 180 more cases of `run` over `moving-clients` "
        "alone (`--only run --scenario moving-clients --seed 2`): 39 accepted, 141 "
        "refused with a place, no fault.",
    ),
    "data-files": (
        "Data files",
        "data_files --cases 2000",
        "Damaged and hostile tables, traces, partitions and plans; `named` counts "
        "the refusals that name the file.",
    ),
    "extremes": (
        "Numbers",
        "extremes",
        "Scenarios with extreme numbers, each audited by `netsim verify`. For "
        "numbers that are not finite see `tests/cosim/test_divergence.py`, for "
        "singular merges `tests/torture/test_extremes.py`.",
    ),
    "bit-rot": (
        "Bit rot",
        "bit_rot --cases 1000",
        "One file of a folder is damaged: of a finished run, of the store of "
        "finished learning, or of a run's adapter. The table counts the readers' "
        "reports of damage, by kind of damage and in total. Where a reader "
        "reports nothing, what it read must be correct: digests and every table "
        "are compared, a run leaves the store intact, and a merge is the average "
        "of the files' contents. `start of a run` reads the adapter that the "
        "manifest lists; `start` reads a copy of it elsewhere, in which damage "
        "cannot be detected as long as it is a valid adapter. A swap that changes "
        "no byte is not counted.",
    ),
    "hostile": (
        "A stranger's folders",
        "hostile --cases 120",
        "One file of a study, a model, a run or an adapter becomes a pipe, a link to "
        "an endless device or to a file outside, a folder, other bytes, or content of "
        "its own form that lies: other settings, headers, columns, types and values, "
        "with checksums made again. Each of the folder's readers ends with one message "
        "or works, within 60 s of processor time and 3 GB, and the file outside stays "
        "as it was. `cases` counts readers; `read`: exit code 0. Studies, models and "
        "runs: a shorter run. Adapters have attacks of their own "
        "(`tests/torture/hostile_adapters.py`), read by `merge` in three ways, one "
        "with the whole model, and, where they touch what a start reads, by `check`, "
        "`run` and `merge-study` of a run that started from them; none may run code.",
    ),
    "forgeries": (
        "Verify: forged runs",
        "forgeries --rows 3",
        "One value of one column is changed, or a row dropped or doubled, in small "
        "recorded runs of every kind of server and network, with every digest made "
        "again; `netsim verify` must find something wrong. A column is free only if "
        "nothing in scenario, draws or other tables implies it. All that is missed is "
        "in free columns: numbers of learning, and the standard errors of norms on "
        "which no plan depends.",
    ),
    "independent": (
        "References",
        "independent",
        "Clock, merges, samplers and plans against references that share no code with "
        "netsim, written from its pages. Ticks: every start and end in random runs of "
        "all sharing rules and servers, in exact integers; shares that a float decides "
        "are compared with their formulas, as parts of the band (the weights of "
        "`work-conserving` are millionths of it). Merges: dense float64 matrices; "
        "differences, also between the reported and the true error, relative to the "
        "components' norms. Draws: frequencies of clients and pairs, mean and variance "
        "of the weighted sum, in standard errors. Plans: time above brute force over "
        "all subsets, and the promise's distance from the exact expectation.",
    ),
    "swarm": (
        "Random valid scenarios",
        "swarm --cases 5113 --seed 1",
        "Each case switches some of twenty features on: rules, radios, fading, errors, "
        "outages, batteries, mobility, availability, cells, backhauls, limits. It "
        "runs, `netsim verify` must find it sound, and fourteen invariants written "
        "apart from it must hold in the tables (`tests/torture/swarm/oracle.py`): "
        "exact work, full bands, phases, merges, energies. Every tenth runs twice. "
        "`refused`: a combination that `check` excludes. A fault is shrunk and kept in "
        "`tests/torture/swarm/corpus`, which `make test` repeats.",
    ),
    "metamorphic": (
        "Pairs that must agree",
        "metamorphic --pairs 100 --seed 3",
        "Random scenarios are changed in ways whose effect is known. Every tick of "
        "every participation and round must be the same: finer units, one more client "
        "that is never drawn, limits that nothing reaches, more rounds (up to the "
        "shorter run's end). Or it must be the same within 1 us, since shares are "
        "rounded once per event: bands and bits doubled, all times doubled, clients in "
        "reverse order. 30 more pairs of each on 29 November 2026 (`--pairs 30 --seed "
        "4`, commit f592e21): no fault.",
    ),
    "simulation": (
        "Simulated histories",
        "simulation --histories 500",
        "Four processes, of two hosts and two containers with process ids in common, "
        "hold and release one folder, and write, read and prune one store of learning. "
        "A seed says who goes on at every operation on files, locks and clocks, and "
        "who is killed there. Where the file system grants no locks, or only now and "
        "then, the same must hold: one holder at a time, whole entries, nothing held "
        "by the dead, no lock and no old draft left. On 29 November 2026, commit "
        "19f15e3.",
    ),
    "hosts": (
        "Hosts and containers",
        "hosts --races 3",
        "Three processes with process ids, host names and users of their own "
        "(namespaces of Linux; started by root) race for a folder's lock, 15 turns "
        "each, and share a store that is pruned; in half of the races the first is "
        "killed once somebody is inside. `read` counts entries: another user's is "
        "absent.",
    ),
    "crash": (
        "Crashes",
        "crash --kills 200",
        "Runs and studies are ended at random moments and resumed until they are "
        "done; `in time` counts those ended before their end. Every digest must "
        "equal that of the undisturbed run, every part must be readable, and no "
        "draft may be left over. SIGTERM and Ctrl-C: `crash --signal SIGTERM` and "
        "`--signal SIGINT`; the exit code is 130, and the printed command resumes "
        "the run. Two workers: `worker_faults`; a run that loses one worker "
        "continues by itself, so none counts as ended in time. `no memory in "
        "workers`: the first allocation beyond a limit fails in both, with one "
        "message and exit code 2. 50 more kills on 29 November 2026 (commit "
        "f592e21): 38 in time, 29 resumes, no fault.",
    ),
    "disk": (
        "Disk",
        "disk",
        "A disk of 64 kB that is full or read-only; folders of other users, and "
        "paths that are not allowed for a run. When the cause is removed, the run "
        "continues to the correct digest. On 29 November 2026, commit f592e21.",
    ),
    "operations": (
        "Every file operation",
        "operations --every 3",
        "A command is stopped before each of its file operations by the kernel, those "
        "of libraries and child processes too. The nth one suffers the fault: the "
        "process is killed, before it or in the middle of a write (`torn write`), or "
        "the operation returns the error; a full disk stays full (ENOSPC). A command "
        "that noticed gave one message. The same command then ends as an undisturbed "
        "one does, with no draft and no lock left, and the names of its files and "
        "folders are on the disk. A kill strikes before each operation that changes "
        "something: before another it leaves the same. Struck at every operation: a "
        "run, a merge, a study and a search; a run that learns (ENOMEM: nine "
        "operations) and a study with two workers. `noticed` counts the commands "
        "that did not end with exit code 0.",
    ),
    "determinism": (
        "Determinism",
        "determinism",
        "Changes that must not affect the digest. Between machines "
        "`network_digest` must agree if learning does not affect time; `digest` "
        "may differ in the last digits of floating-point numbers.",
    ),
    "supply": (
        "Supply",
        "supply --ends",
        "The lowest release of every range in `setup.cfg`, extras included, and "
        "the newest compatible releases, each in its own environment; torch is "
        "the same in both.",
    ),
}


def as_table(rows):
    """Return rows of text as a Markdown table; the first row is the header."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(name, rows):
    """Return the section of one bed: heading, command, text and table."""
    title, command, text = BEDS[name]
    shown = f"`python -m tests.torture.{command} --out DIR`"
    return f"## {title}\n\n{shown}\n\n{text}\n\n{as_table(rows)}\n"


def rows(folder, name):
    """Return the header and the rows of all tables with this name below a folder."""
    found = []
    for path in sorted(folder.rglob(f"{name}.csv")):
        with path.open(newline="") as file:
            head, *body = csv.reader(file)
        assert found[:1] in ([], [head]), f"{path} has other columns"
        found = [head, *found[1:], *body]
    return found


def page(folder, machine):
    """Return the page of all beds with a table below a folder."""
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
    """Write the page and the CSV files."""
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

"""Simulated against measured transfers of real adapters over a real, shaped link.

    sudo python tests/benchmarks/real_bytes/measure.py            # all, 8 minutes
    sudo python tests/benchmarks/real_bytes/measure.py --only together --repeats 1

Every pattern is simulated first, then played by processes in network namespaces, so
that nothing measured goes into a prediction. Writes uploads.csv, rounds.csv and
summary.csv beside results/real-bytes/README.md. Needs root and iproute2; all addresses
are within namespaces, which are removed after a failure or an interrupt too. Runs are
kept in results/runs/real-bytes.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from pathlib import Path

import compare
import foresight
import pandas as pd
from harness import play
from link import Refused, require
from patterns import NO_CEILINGS, PATTERNS, RANKS

from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.errors import InputError
from netsim.runs.run import Run

RESULTS = Path("results") / "real-bytes"
RUNS = Path("results") / "runs" / "real-bytes"
LINK, ADAPTER, FEDERATION = (
    RESULTS / f"{name}.yaml" for name in ("link", "adapter", "federation")
)
ONE_QUEUE = ("together", "staggered")  # played over a single queue too
DIGITS = 5


def finished(path: Path, overrides: tuple[str, ...], name: str) -> Run:
    """Return a run that learns, made now or earlier."""
    folder = RUNS / name
    try:
        run = load_run(folder)
        if run.manifest.status == "complete":
            return run
    except InputError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return foresight.foreseen(path, overrides, folder)


def adapters() -> list[Path]:
    """Return each client's adapter, of the scenario's size."""
    made = {
        rank: finished(ADAPTER, (f"learning.lora.r={rank}",), f"adapter-{rank}").folder
        for rank in sorted(set(RANKS))
    }
    files = [made[rank] / "adapter" / "adapter_model.safetensors" for rank in RANKS]
    sizes = [8 * file.stat().st_size for file in files]
    told = list(read_scenario(LINK).learning.upload_bits)
    if sizes != told:
        raise InputError(f"{LINK}: learning.upload is {told} bits, the files {sizes}")
    return files


def contest(
    path: Path,
    overrides: tuple[str, ...],
    files: list[Path],
    *,
    name: str,
    is_fair: bool = True,
    repeats: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate, play several times, and return the rows of uploads and of rounds."""
    scenario = read_scenario(path, overrides)
    tables: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    runs = {
        model: fresh(path, (*overrides, *more), f"{name} {model}")
        for model, more in (("framed", foresight.framed(scenario)), ("bare", ()))
    }
    plan = foresight.plan(runs["framed"], scenario, files)
    for repeat in range(1, repeats + 1):
        measured = play(plan, foresight.shape(scenario, is_fair=is_fair))
        for model, run in runs.items():
            simulated = foresight.expected(run)
            keys = {"pattern": name, "model": model, "repeat": repeat}
            for rows, compared in zip(
                tables,
                (
                    compare.uploads(measured, simulated),
                    compare.rounds(measured, simulated),
                ),
                strict=True,
            ):
                rows.append(compared.assign(**keys)[[*keys, *compared.columns]])
        print(f"{name}, {repeat} of {repeats}: {_said(tables[0][-2])}", flush=True)
    return pd.concat(tables[0]), pd.concat(tables[1])


def fresh(path: Path, overrides: tuple[str, ...], name: str) -> Run:
    """Return a run that is simulated now; what it learned before is remembered."""
    folder = RUNS / name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    return foresight.foreseen(path, overrides, folder)


def federation(repeats: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a whole federated run, played to its target's round."""
    run = fresh(FEDERATION, (), "federation bare")
    file = run.folder / "adapter" / "adapter_model.safetensors"
    files = [file] * run.clients.client_id.nunique()
    return contest(FEDERATION, (), files, name="federation", repeats=repeats)


def measured(only: str, repeats: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all rows of uploads and of rounds."""
    found = []
    files = adapters()
    for name, overrides in PATTERNS.items():
        if only in name:
            found.append(contest(LINK, overrides, files, name=name, repeats=repeats))
    for pattern in ONE_QUEUE:
        overrides, name = (*PATTERNS[pattern], *NO_CEILINGS), f"{pattern}, one queue"
        if only in name:
            table = contest(
                LINK, overrides, files, name=name, is_fair=False, repeats=repeats
            )
            found.append(table)
    if only in "federation":
        found.append(federation(repeats))
    if not found:
        raise InputError(f"--only {only}: no such pattern; there are {list(PATTERNS)}")
    uploads, rounds = zip(*found, strict=True)
    return pd.concat(uploads), pd.concat(rounds)


def summary(uploads: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """Return how large the errors are, by pattern and model, and over all that is
    neither the federation nor one queue."""
    uploads, rounds = with_all(uploads), with_all(rounds)
    rows = []
    for table, columns in (
        (uploads, ("duration_error", "completion_error")),
        (rounds, ("round_error", "until_error")),
    ):
        for (pattern, model), group in table.groupby(["pattern", "model"], sort=False):
            for column in columns:
                found = {"pattern": pattern, "model": model, "of": column[:-6]}
                values = group[column]
                rows.append({**found, "num": len(values), **compare.spread(values)})
    return pd.DataFrame(rows)


def with_all(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the rows of the patterns of arrival once more, as one."""
    arrivals = table[table.pattern.isin(PATTERNS)]
    return pd.concat([table, arrivals.assign(pattern="all arrivals")])


def _said(table: pd.DataFrame) -> str:
    return ", ".join(
        f"{name} {value:+.2%}"
        for name, value in compare.spread(table.duration_error).items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="patterns whose name holds the text")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    RUNS.mkdir(parents=True, exist_ok=True)
    try:
        require()
        uploads, rounds = measured(options.only, options.repeats)
    except (Refused, InputError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    found = {"uploads": uploads, "rounds": rounds, "summary": summary(uploads, rounds)}
    options.out.mkdir(parents=True, exist_ok=True)
    for name, table in found.items():
        path = options.out / f"{name}.csv"
        table.round(DIGITS).to_csv(path, index=False, lineterminator="\n")
    print(found["summary"].round(4).to_string(index=False))


if __name__ == "__main__":
    main()

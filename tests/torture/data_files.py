"""Damaged data files: every reader refuses them with one message, or reads correct
data. ``python -m tests.torture.data_files --cases 2000 --out DIR``
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fl.tasks import Digits
from tests.torture.judging import judged, limit_memory, peak_bytes
from tests.torture.mutation import scrambled
from tests.torture.shapes import seeded
from tests.torture.table import Table, ignored

ROWS = [
    (f"label {n % 3}", f"some words, {n} of them", f"user {n % 5}") for n in range(60)
]
NAMES = ("label", "text", "user")
COLUMNS = (
    "reader",
    "cases",
    "accepted",
    "refused",
    "named",
    "faults",
    "slowest s",
    "peak MB",
)
LONG = 20_000_000


def _delimited(delimiter):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    writer.writerows([NAMES, *ROWS])
    return file.getvalue().encode()


def _parquet(columns):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def _json_lines():
    rows = (dict(zip(NAMES, row, strict=True)) for row in ROWS)
    return "\n".join(map(json.dumps, rows)).encode()


def right_files():
    """Return the name and the bytes of a valid file, by reader."""
    columns = dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))
    plan = {
        "client_id": list(range(20)),
        "sampling_probability": [0.5] * 20,
        "rank": [8] * 20,
    }
    num_samples = len(Digits().labels("train"))
    holders = "".join(f"{n},{n % 20}\n" for n in range(num_samples))
    return {
        "csv": ("rows.csv", _delimited(",")),
        "tsv": ("rows.tsv", _delimited("\t")),
        "jsonl": ("rows.jsonl", _json_lines()),
        "parquet": ("rows.parquet", _parquet(columns)),
        "csv.gz": ("rows.csv.gz", gzip.compress(_delimited(","), mtime=0)),
        "mahimahi": ("band.up", "".join(f"{n * 3}\n" for n in range(200)).encode()),
        "rates": ("rates.csv", "".join(f"{n},{n * 1e5}\n" for n in range(99)).encode()),
        "holders": ("holders.csv", b"sample,client\n" + holders.encode()),
        "plan": ("plan.parquet", _parquet(plan)),
    }


def words(reader, path, folder):
    """Return the arguments of a command that reads the file."""
    task = (
        f"learning.task={{kind: text, train: {path}, test: {path}}}",
        "learning.backbone={kind: config, model_type: bert, vocab_size: 300}",
        "learning.partition=iid",
    )
    measured = "cell.uplink.radio={{kind: measured, path: {}, reference_band: 2 MHz{}}}"
    settings = {
        "mahimahi": (
            measured.format(path, ""),
            "cell.uplink.sharing=processor-sharing",
        ),
        "rates": (
            measured.format(path, ", format: csv"),
            "cell.uplink.sharing=processor-sharing",
        ),
        "holders": (f"learning.partition={{kind: file, path: {path}}}",),
        "plan": (
            f"policy={{kind: planned, path: {path}}}",
            "server={kind: synchronous, announce_time: 0 s, merge_time: 0 s}",
        ),
    }
    chosen = settings.get(reader, task)
    sets = [word for setting in chosen for word in ("--set", setting)]
    divided = () if reader in settings and reader != "holders" else _divided(folder)
    return ("check", "quickstart", *sets, *divided)


def _divided(folder):
    return ("--partition", folder / "partition")


def hostile_contents():
    """Return contents that every reader should refuse."""
    return {
        "nothing": b"",
        "a line break": b"\n",
        "one endless line": b"9" * LONG,
        "one endless field": b"label,text\na," + b"x" * LONG + b"\n",
        "brackets": b"[" * 100_000,
        "nulls": bytes(1000),
        "utf-16": "label,text\na,b\nb,c\n".encode("utf-16"),
        "latin-1": "label,text\na,caf\u00e9\nb,c\n".encode("latin-1"),
        "a header alone": b"label,text\n",
        "ragged": b"label,text\na\nb,c,d\n,\n",
        "an open quote": b'label,text\na,"b\n' + b"c,d\n" * 1000,
        "names twice": b"label,label,text\na,b,c\nb,b,c\n",
        "one label": b"label,text\na,b\na,c\n",
        "numbers of all sizes": b"0,1e999\n1,nan\n2,-inf\n1e400,1\n",
        "a bomb": gzip.compress(b"0" * LONG),
        "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "json that is no row": b'[1]\n"a"\nnull\n{"label": [], "text": {}}\n',
        "json too deep": b'{"label": "a", "text": ' + b"[" * 50_000 + b"\n",
    }


def judged_content(reader, name, content, folder):
    """Return the verdict on a reader of these bytes; the name is new each time, since
    readers cache files."""
    path = folder / f"{hashlib.sha256(content).hexdigest()[:12]}-{name}"
    path.write_bytes(content)
    try:
        return judged(*words(reader, path, folder))
    finally:
        path.unlink()


def torment(reader, name, right, seed, cases, folder, seen=ignored):
    """Return counts, faults and the longest time of a reader for mutated bytes;
    ``seen`` gets a row per case."""
    counts, faults, slowest_s = Counter(), [], 0.0
    contents = dict(hostile_contents())
    for number in range(cases):
        contents[number] = scrambled(right, seeded(seed, reader, number))
    for case, content in contents.items():
        verdict = judged_content(reader, name, content, folder)
        slowest_s = max(slowest_s, verdict.seconds)
        counts["cases"] += 1
        if verdict.fault:
            faults.append((case, verdict.fault))
        elif verdict.code:
            counts["refused"] += 1
            counts["named"] += name in verdict.said
        else:
            counts["accepted"] += 1
        seen(
            {"reader": reader, **counts, "faults": len(faults)}
            | {"slowest s": round(slowest_s, 2), "peak MB": peak_bytes() // 10**6}
        )
    return counts, faults, slowest_s


def main():
    """Write ``data-files.csv`` and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    counted = judged("check", "quickstart", "--count", limit_s=60)  # to check all
    assert counted.code == 0, counted.said + counted.fault
    limit_memory()
    found = right_files()
    share = -(-given.cases // len(found))
    table = Table(given.out / "data-files.csv", COLUMNS)
    with (given.out / "faults.txt").open("w") as log:
        for reader, (name, right) in found.items():
            before = judged_content(reader, name, right, given.out)
            assert before.code == 0, before.said + before.fault
            _, faults, _ = torment(
                reader, name, right, given.seed, share, given.out, table.put
            )
            for case, fault in faults:
                print(reader, case, fault, sep="\n", file=log, flush=True)
            print(reader, len(faults), "faults", flush=True)


if __name__ == "__main__":
    main()

"""Mutated scenarios and studies: exit code 0 or 2, one message, at once, in little
memory. ``python -m tests.torture.bad_input --cases 10000 --out DIR``"""

import argparse
import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from .judging import judged, limit_memory, peak_bytes
from .mutation import as_yaml, mutated, redrawn, scrambled
from .shapes import Shapes, seeded

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
KINDS = ("structure", "bytes", "drawn")
COLUMNS = ("kind", "what", "cases", "accepted", "refused", "with a place", "faults")


@dataclass(frozen=True)
class Corpus:
    """Right files of one sort, and the schema that they follow."""

    what: str
    command: tuple[str, ...]
    files: tuple[Path, ...]
    shapes: Shapes

    def case(self, kind, seed, number):
        """Return the bytes of one wrong file."""
        rng = seeded(seed, self.what, kind, number)
        content = rng.choice(self.files).read_bytes()
        if kind == "bytes":
            return scrambled(content, rng)
        if kind == "drawn":
            return as_yaml(redrawn(yaml.safe_load(content), self.shapes, rng))
        return as_yaml(mutated(yaml.safe_load(content), self.shapes, rng))


def corpora():
    """Return the scenarios, to be checked, and the studies, to be planned."""
    return [
        Corpus(
            "scenario",
            ("check",),
            tuple(sorted(SCENARIOS.glob("*.yaml"))),
            _shapes("scenario"),
        ),
        Corpus(
            "study",
            ("study", "--dry-run"),
            tuple(sorted(SCENARIOS.glob("studies/*.yaml"))),
            _shapes("study"),
        ),
    ]


def _shapes(name):
    return Shapes(json.loads((SCENARIOS / f"{name}.schema.json").read_text()))


def judged_case(corpus, kind, seed, number, folder):
    """Return the verdict on one wrong file, which is left in the folder."""
    path = folder / f"{corpus.what}.yaml"
    path.write_bytes(corpus.case(kind, seed, number))
    command, *options = corpus.command
    return judged(command, path, *options)


def torment(corpus, kind, seed, cases, folder):
    """Return counts of how so many wrong files fared, and the faulty ones' numbers
    with what was wrong."""
    counts, faults, slowest_s = Counter(), [], 0.0
    for number in range(cases):
        verdict = judged_case(corpus, kind, seed, number, folder)
        slowest_s = max(slowest_s, verdict.seconds)
        if verdict.fault:
            faults.append((number, verdict.fault))
        elif verdict.code:
            counts["refused"] += 1
            counts["with a place"] += verdict.has_place
        else:
            counts["accepted"] += 1
    return counts, faults, slowest_s


def main():
    """Write ``bad-input.csv`` and a file per fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    limit_memory()
    rows = []
    found = corpora()
    share = -(-given.cases // (len(found) * len(KINDS)))
    for corpus in found:
        for kind in KINDS:
            counts, faults, slowest_s = torment(
                corpus, kind, given.seed, share, given.out
            )
            for number, fault in faults:
                name = f"{corpus.what}-{kind}-{number}"
                (given.out / f"{name}.txt").write_text(fault)
                wrong = corpus.case(kind, given.seed, number)
                (given.out / f"{name}.yaml").write_bytes(wrong)
            rows.append(
                {"kind": kind, "what": corpus.what, "cases": share, **counts}
                | {"faults": len(faults), "slowest s": round(slowest_s, 2)}
                | {"peak MB": peak_bytes() // 10**6}
            )
            print(rows[-1], flush=True)
    with (given.out / "bad-input.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, (*COLUMNS, "slowest s", "peak MB"), restval=0)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

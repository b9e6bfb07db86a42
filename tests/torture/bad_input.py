"""Mutated scenarios and studies: exit code 0 or 2, one message, little time and
memory. ``python -m tests.torture.bad_input --cases 10000 --out DIR``

Scenarios are checked, studies are planned, and scenarios without learning are run for
two rounds. A valid run may take long, so slow cases are counted separately.
"""

import argparse
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.torture.judging import judged, limit_memory, peak_bytes
from tests.torture.mutation import as_yaml, mutated, redrawn, scrambled
from tests.torture.shapes import Shapes, seeded
from tests.torture.table import Table, ignored

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
KINDS = ("structure", "bytes", "drawn")
COUNTS = ("accepted", "refused", "with a place", "slow", "faults")
COLUMNS = ("what", "kind", "cases", *COUNTS, "slowest s", "peak MB")
NO_LEARNING = {"kind": "none", "download": "3 kB", "upload": "3 kB"}
NO_LEARNING |= {"compute": "1 GFLOP"}
RUN_FOLDER = "run"


@dataclass(frozen=True)
class Corpus:
    """Valid files of one kind, their schema, and what is done with them; ``may_last``
    if a valid file may take long."""

    what: str
    command: tuple[str, ...]
    documents: tuple[bytes, ...]
    shapes: Shapes
    may_last: bool = False

    def case(self, kind, seed, number):
        """Return the bytes of one mutated file."""
        rng = seeded(seed, self.what, kind, number)
        content = rng.choice(self.documents)
        if kind == "bytes":
            return scrambled(content, rng)
        change = redrawn if kind == "drawn" else mutated
        return as_yaml(change(yaml.safe_load(content), self.shapes, rng))


def corpora(folder, name="*"):
    """Return scenarios to check, studies to plan, and scenarios to run in a folder;
    ``name`` is that of one shipped scenario, or a pattern."""
    shapes = _shapes("scenario")
    scenarios = _contents(f"{name}.yaml")
    short = ("--quiet", "--set", "stop={rounds: 2}", "--out", str(folder / RUN_FOLDER))
    return [
        Corpus("scenario", ("check",), scenarios, shapes),
        Corpus(
            "study",
            ("study", "--dry-run"),
            _contents("studies/*.yaml"),
            _shapes("study"),
        ),
        Corpus("run", ("run", *short), tuple(map(_dumb, scenarios)), shapes, True),
    ]


def _contents(pattern):
    return tuple(path.read_bytes() for path in sorted(SCENARIOS.glob(pattern)))


def _shapes(name):
    return Shapes(json.loads((SCENARIOS / f"{name}.schema.json").read_text()))


def _dumb(content):
    """Return a scenario without learning."""
    data = yaml.safe_load(content)
    if data.pop("policy", None):
        data["server"]["sampling"] = "full"
    return as_yaml({**data, "learning": NO_LEARNING})


def judged_case(corpus, kind, seed, number, folder):
    """Return the verdict on one mutated file, which stays in the folder."""
    path = folder / f"{corpus.what}.yaml"
    path.write_bytes(corpus.case(kind, seed, number))
    command, *options = corpus.command
    shutil.rmtree(folder / RUN_FOLDER, ignore_errors=True)
    return judged(command, path, *options)


def torment(corpus, kind, seed, cases, folder, seen=ignored):
    """Return the counts of verdicts on mutated files, the faults by case number, and
    the longest time in seconds; ``seen`` gets a row per case."""
    counts, faults, slowest_s = Counter(), [], 0.0
    for number in range(cases):
        verdict = judged_case(corpus, kind, seed, number, folder)
        slowest_s = max(slowest_s, verdict.seconds)
        counts["cases"] += 1
        if verdict.is_slow and corpus.may_last:
            counts["slow"] += 1
        elif verdict.fault:
            faults.append((number, verdict.fault))
        else:
            counts["refused" if verdict.code else "accepted"] += 1
            counts["with a place"] += bool(verdict.code) and verdict.has_place
        seen(
            {"what": corpus.what, "kind": kind, **counts, "faults": len(faults)}
            | {"slowest s": round(slowest_s, 2), "peak MB": peak_bytes() // 10**6}
        )
    return counts, faults, slowest_s


def main():
    """Write ``bad-input.csv`` and a file per fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["scenario", "study", "run"])
    parser.add_argument("--scenario", default="*", help="one of the shipped only")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    limit_memory()
    table = Table(given.out / "bad-input.csv", COLUMNS, num_keys=2)
    found = [c for c in corpora(given.out, given.scenario) if c.what in given.only]
    share = -(-given.cases // (len(found) * len(KINDS)))
    for corpus in found:
        for kind in KINDS:
            _, faults, _ = torment(
                corpus, kind, given.seed, share, given.out, table.put
            )
            for number, fault in faults:
                name = f"{corpus.what}-{kind}-{number}"
                (given.out / f"{name}.txt").write_text(fault)
                wrong = corpus.case(kind, given.seed, number)
                (given.out / f"{name}.yaml").write_bytes(wrong)
            print(corpus.what, kind, len(faults), "faults", flush=True)


if __name__ == "__main__":
    main()

"""Bit rot in folders: a reader reads correct data, or reports the damage.

``python -m tests.torture.bit_rot --cases 1000 --out DIR``
"""

import argparse
from collections import Counter
from functools import partial
from pathlib import Path

from tests.torture.adapter_rot import sound_adapter
from tests.torture.judging import limit_memory
from tests.torture.rotting import DAMAGES, damaged_copy
from tests.torture.run_rot import sound_run
from tests.torture.shapes import seeded
from tests.torture.store_rot import sound_store
from tests.torture.table import Table, ignored

SOUND = {"run": sound_run, "store": sound_store, "adapter": sound_adapter}
# of all cases: those of a store and of an adapter train
SHARES = {"run": 0.7, "store": 0.15, "adapter": 0.15}
COLUMNS = ("of", "reader", *DAMAGES, "cases", "said so", "faults")


def torment(sound, damage, seed, cases, place, seen=ignored):
    """Damage copies one by one and return counts and faults; ``seen`` gets the reader
    and its answer, per case and reader."""
    counts, faults = Counter(), []
    for number in range(cases):
        rng = seeded(seed, damage, number)
        which = damaged_copy(sound, place, damage, rng)
        if which is None:
            continue
        counts["cases"] += 1
        for reader, (answer, fault) in sound.probed(place).items():
            counts[reader] += answer == "said so"
            seen(reader, answer)
            if fault:
                faults.append((number, which, reader, fault))
    return counts, faults


class Figures:
    """The table: how often each reader reported the damage, by kind of damage."""

    def __init__(self, path, what):
        self._table, self._what = Table(path, COLUMNS, num_keys=2), what
        self._rows = {}

    def note(self, damage, reader, answer):
        """Count one answer."""
        row = self._rows.setdefault(reader, Counter())
        row["cases"] += 1
        row["faults"] += answer == "fault"
        for name in ("said so", damage):
            row[name] += answer == "said so"
        self._table.put({"of": self._what, "reader": reader, **row})


def main():
    """Write ``bit-rot.csv`` for each sort of folder, and what was wrong, fault by
    fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=list(SOUND))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    limit_memory()
    for what in given.only:
        share = -(-int(given.cases * SHARES[what]) // len(DAMAGES))
        let_rot(what, given.out / what, given.seed, share)


def let_rot(what, folder, seed, share):
    """Damage folders of one kind in every way; write table and faults."""
    folder.mkdir(parents=True, exist_ok=True)
    sound, figures = SOUND[what](folder), Figures(folder / "bit-rot.csv", what)
    with (folder / "faults.txt").open("w") as log:
        for damage in DAMAGES:
            note = partial(figures.note, damage)
            _, faults = torment(sound, damage, seed, share, folder / "copy", note)
            for fault in faults:
                print(*fault, sep="\n", file=log, flush=True)
            print(what, damage, len(faults), "faults", flush=True)


if __name__ == "__main__":
    main()

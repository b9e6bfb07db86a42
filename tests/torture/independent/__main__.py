"""References that share no code with netsim: ``python -m tests.torture.independent``.

Writes ``independent.csv``: one row per rule, merge, sampler and planned division.
"""

import argparse
from pathlib import Path

from tests.torture.independent import clock, draws, merges, plans
from tests.torture.table import Table

COLUMNS = ("what", "kind", "cases", "largest", "limit", "faults")


def main():
    """Compare all four parts with their references."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=98)
    parser.add_argument("--layers", type=int, default=400, help="for each merge")
    parser.add_argument("--draws", type=int, default=20_000, help="of each sampler")
    parser.add_argument("--plans", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "independent.csv", COLUMNS, num_keys=2)
    parts = (
        clock.rows(given.runs),
        merges.rows(given.layers),
        draws.rows(given.draws),
        plans.rows(given.plans),
    )
    for part in parts:
        for what, kind, cases, largest, limit, faults in part:
            figures = (what, kind, cases, f"{largest:.1e}", f"{limit:g}", faults)
            table.put(dict(zip(COLUMNS, figures, strict=True)))
            print(*figures, flush=True)


if __name__ == "__main__":
    main()

"""Compare the uploads of ns-3 with netsim's own.

    PYTHONPATH=. python tests/benchmarks/ns3/judge.py results/validation/ns3

Reads `ns3.csv` of the folder, which `in_ns3.py` wrote; writes `phones.csv` and
`summary.csv` there. An error is netsim's seconds over ns-3's, less one. `bare` is
netsim without the preset's blocks for uplink control, of which ns-3 has none.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd
from in_netsim import PRESET_OVERHEAD, ends
from plays import UPLOADS, Play, plays

KEYS = ["pattern", "scheduler", "buffers", "seed"]


def compared(measured: pd.DataFrame) -> pd.DataFrame:
    """Return a row per phone with both programs' seconds and the error."""
    found = []
    known = dict(list(measured.groupby(KEYS)))
    for play in plays():
        key = (play.pattern, play.scheduler, play.buffers, play.seed)
        rows = known.get(key)
        if rows is None:
            continue
        own, bare = (played(play, one) for one in (PRESET_OVERHEAD, 0.0))
        own["bare_s"] = bare.netsim_s
        if play.pattern == "broadcast":
            own = own.nlargest(1, "netsim_s")
        rows = rows.sort_values("phone").reset_index(drop=True)
        found.append(pd.concat([rows, own.reset_index(drop=True)], axis=1))
    table = pd.concat(found, ignore_index=True)
    table["ns3_s"] = (table.end_s - table.start_s).where(table.end_s > 0)
    table["error"] = table.netsim_s / table.ns3_s - 1
    table["bare_error"] = table.bare_s / table.ns3_s - 1
    return table


def played(play: Play, overhead: float) -> pd.DataFrame:
    """Return the seconds of a play's phones, with an overhead of the uplink."""
    with tempfile.TemporaryDirectory() as folder:
        return ends(play, play.phones_of_cell(), Path(folder), overhead)


def rounds(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per play: when its last message is there, and the CPU times."""
    table = table.assign(
        netsim_end_s=table.netsim_s + table.start_s,
        bare_end_s=table.bare_s + table.start_s,
    )
    table["arrived_s"] = table.end_s.where(table.end_s > 0)
    by_play = table.groupby(KEYS, sort=False)
    first = by_play.start_s.min()
    spans = pd.DataFrame(
        {
            "ns3_s": by_play.arrived_s.max() - first,
            "netsim_s": by_play.netsim_end_s.max() - first,
            "bare_s": by_play.bare_end_s.max() - first,
            "ns3_cpu_s": by_play.cpu_s.first(),
            "netsim_cpu_s": by_play.netsim_cpu_s.first(),
        }
    ).reset_index()
    spans["error"] = spans.netsim_s / spans.ns3_s - 1
    spans["bare_error"] = spans.bare_s / spans.ns3_s - 1
    return spans


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the errors of messages and rounds by buffers, scheduler and pattern."""
    of_rounds = rounds(table)
    all_uploads = table[table.pattern.isin(UPLOADS)].assign(pattern="all uploads")
    whole = of_rounds[of_rounds.pattern.isin(UPLOADS)].assign(pattern="all uploads")
    both = pd.concat([table, all_uploads]), pd.concat([of_rounds, whole])
    keys = ["buffers", "scheduler", "pattern"]
    phones, plays_ = (
        one.assign(size=one.error.abs(), bare_size=one.bare_error.abs()).groupby(keys)
        for one in both
    )
    return pd.DataFrame(
        {
            "messages": phones["size"].count(),
            "mean": phones.error.mean(),
            "median_size": phones["size"].median(),
            "p95_size": phones["size"].quantile(0.95),
            "worst_size": phones["size"].max(),
            "rounds": plays_["size"].count(),
            "round_median_size": plays_["size"].median(),
            "round_worst_size": plays_["size"].max(),
            "bare_median_size": phones.bare_size.median(),
            "bare_p95_size": phones.bare_size.quantile(0.95),
            "bare_worst_size": phones.bare_size.max(),
            "bare_round_median_size": plays_.bare_size.median(),
            "bare_round_worst_size": plays_.bare_size.max(),
            "cpu_ratio": plays_.ns3_cpu_s.sum() / plays_.netsim_cpu_s.sum(),
        }
    ).reset_index()


def main() -> None:
    folder = Path(sys.argv[1])
    table = compared(pd.read_csv(folder / "ns3.csv"))
    table.drop(columns="cpu_s").round(5).to_csv(folder / "phones.csv", index=False)
    found = summary(table)
    found.round(4).to_csv(folder / "summary.csv", index=False)
    print(found.round(3).to_string(index=False))


if __name__ == "__main__":
    main()

"""Draw predicted against observed compute, memory, bytes and rounds; list the points.

pip install -c constraints.txt -e '.[report,test]'
PYTHONPATH=. python results/validation/picture.py results/validation
"""

from __future__ import annotations

import sys
from pathlib import Path

import altair as alt
import pandas as pd

from netsim.cosim.commands.sweep import judge
from netsim.devices.observations import read_observations
from netsim.devices.validation import comparisons
from tests.benchmarks.steps import read

HERE = Path(__file__).parent
KINDS = {
    "fitted, left out": "#0072B2",
    "fitted, another program": "#E69F00",
    "assumed": "#D55E00",
    "this host, left out": "#56B4E9",
    "testbed": "#009E73",
    "ns-3": "#CC79A7",
    "real bytes": "#000000",
}
QUANTITIES = {"compute": "step, s", "memory": "B", "bytes": "B", "round": "s"}
COLUMNS = ["quantity", "setting", "kind", "predicted", "observed", "source", "command"]


def of_devices() -> pd.DataFrame:
    """Return the steps of the catalogue's devices."""
    rows = pd.DataFrame(comparisons())
    kind = rows.role.map(lambda role: f"fitted, {role}").where(
        rows.role == "left out", "fitted, another program"
    )
    sources = {one.group: one.source for one in read_observations()}
    return pd.DataFrame(
        {
            "quantity": "compute",
            "setting": rows.device + ": " + rows.setting + " (" + rows.group + ")",
            "kind": kind.where(rows.basis != "assumed", "assumed"),
            "predicted": rows.predicted_s,
            "observed": rows.observed_s,
            "source": rows.group.map(sources),
            "command": "netsim validate",
        }
    )


def of_host() -> pd.DataFrame:
    """Return the steps of this host that its law was not fitted to."""
    found = read(HERE / "host.csv")
    result = judge(found)
    left_out = [found[n] for n in result.left_out]
    return pd.DataFrame(
        {
            "quantity": "compute",
            "setting": [
                f"{s.model}, {s.precision}, {s.batch_size} x {s.length}"
                for s in (one.setting for one in left_out)
            ],
            "kind": "this host, left out",
            "predicted": result.predicted_s,
            "observed": [one.step_s for one in left_out],
            "source": "host.csv",
            "command": "python tests/benchmarks/steps.py --csv host.csv --judge",
        }
    )


def of_ns3() -> pd.DataFrame:
    """Return the rounds of ns-3's cell with buffers of today."""
    rows = pd.read_csv(HERE / "ns3" / "phones.csv").dropna(subset=["netsim_s", "ns3_s"])
    keys = ["pattern", "scheduler", "seed"]
    today = rows[rows.buffers == "today"]
    ends = today.groupby(keys, as_index=False)[["netsim_s", "ns3_s"]].max()
    seeds = ends.seed.astype(str)
    return pd.DataFrame(
        {
            "quantity": "round",
            "setting": ends.pattern + ", " + ends.scheduler + ", seed " + seeds,
            "kind": "ns-3",
            "predicted": ends.netsim_s,
            "observed": ends.ns3_s,
            "source": "ns3/phones.csv",
            "command": "python tests/benchmarks/ns3/judge.py results/validation/ns3",
        }
    )


def of_real_bytes() -> pd.DataFrame:
    """Return the rounds of real adapters over a shaped link."""
    rows = pd.read_csv(HERE.parent / "real-bytes" / "rounds.csv")
    rows = rows[rows.model == "framed"]
    numbers = rows["repeat"].astype(str) + ", round " + rows.round_id.astype(str)
    return pd.DataFrame(
        {
            "quantity": "round",
            "setting": rows.pattern + ", repeat " + numbers,
            "kind": "real bytes",
            "predicted": rows.simulated_round_s,
            "observed": rows.measured_round_s,
            "source": "../real-bytes/rounds.csv",
            "command": "as in results/real-bytes/README.md",
        }
    )


def panel(rows: pd.DataFrame, quantity: str) -> alt.LayerChart:
    """Return one point per setting, and the line on which both are equal."""
    ends = [float(rows.observed.min()), float(rows.observed.max())]
    scale = alt.Scale(type="log")
    unit = QUANTITIES[quantity]
    points = alt.Chart(rows, width=260, height=260, title=quantity)
    equal = alt.Chart(pd.DataFrame({"observed": ends, "predicted": ends}))
    axis = alt.Axis(grid=False, tickCount=5, format="~s")
    x = alt.X("observed", title=f"observed {unit}", scale=scale, axis=axis)
    y = alt.Y("predicted", title=f"predicted {unit}", scale=scale, axis=axis)
    colour = alt.Color(
        "kind",
        scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())),
        legend=alt.Legend(orient="top", title=None, columns=4),
    )
    return equal.mark_line(color="#999999").encode(x, y) + points.mark_point(
        filled=True, size=22
    ).encode(x, y, colour)


if __name__ == "__main__":
    testbed = pd.read_csv(HERE / "testbed.csv")
    table = pd.concat([of_devices(), of_host(), testbed, of_ns3(), of_real_bytes()])
    out = Path(sys.argv[1])
    table[COLUMNS].to_csv(out / "points.csv", index=False, float_format="%.5g")
    panels = [panel(table[table.quantity == one], one) for one in QUANTITIES]
    alt.concat(*panels, columns=2).configure(aria=False).save(out / "all.svg")

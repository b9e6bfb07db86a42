"""Draw the errors of simulated messages, by pattern of ns-3 and by recorded trace, and
the rates that ns-3's and netsim's modems choose.

pip install -c constraints.txt -e '.[report]'
python results/validation/network.py results/validation/network.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import altair as alt
import pandas as pd

from netsim.channel.mcs_table import McsTableRadio

HERE = Path(__file__).parent
RECORDED = HERE.parent / "real-bytes" / "recorded-errors.csv"


def of_ns3() -> pd.DataFrame:
    """Return the errors of messages in ns-3's cell with buffers of today."""
    rows = pd.read_csv(HERE / "ns3" / "phones.csv").dropna(subset="error")
    rows = rows[rows.buffers == "today"]
    return pd.DataFrame(
        {
            "group": "ns-3: " + rows.pattern,
            "error": rows.error,
            "kind": rows.scheduler,
        }
    )


def of_traces() -> pd.DataFrame:
    """Return the errors of completions over links that follow a recorded trace."""
    rows = pd.read_csv(RECORDED)
    names = rows.trace.str.replace(".up", "", regex=False)
    return pd.DataFrame(
        {
            "group": "trace: " + names,
            "error": rows.error,
            "kind": rows.queue
            + (rows.queue == "fair").map({True: " queues", False: " queue"}),
        }
    )


def spread(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the median, the middle nine tenths and the ends of each group's errors."""
    errors = rows.groupby(["group", "kind"], sort=False).error
    parts = {"low": 0.05, "median": 0.5, "high": 0.95, "least": 0.0, "most": 1.0}
    found = {name: errors.quantile(part) for name, part in parts.items()}
    return pd.DataFrame(found).clip(-0.5, 0.5).reset_index()


def picture(rows: pd.DataFrame) -> alt.LayerChart:
    """Return a line from the least to the most error of each group, thick over nine
    tenths, with the median; beyond 50 % at the edge."""
    chart = alt.Chart(spread(rows), width=520, height=alt.Step(7)).encode(
        alt.Y("group", title=None, sort=list(dict.fromkeys(rows.group))),
        alt.YOffset("kind"),
        alt.Color("kind", legend=alt.Legend(orient="top", title=None)),
    )
    x = alt.X("least", title="simulated over measured, less one").axis(format="%")
    return alt.layer(
        chart.mark_rule().encode(x, alt.X2("most")),
        chart.mark_bar(size=7, opacity=0.6).encode(alt.X("low"), alt.X2("high")),
        chart.mark_tick(thickness=2, size=11).encode(alt.X("median")),
    )


def rates() -> alt.Chart:
    """Return the uplink rates over SNR on 50 resource blocks, before any overhead."""
    rows = pd.read_csv(HERE / "ns3" / "amc.csv")
    radio = McsTableRadio(reference_band_hz=9e6, table="lte-uplink")
    cn0_hz = 10 ** (rows.snr_db / 10) * 9e6
    own_bps = [radio.rate_bps(one, 9e6) for one in cn0_hz]
    curves = {
        "ns-3 schedules": rows.bits_per_ms / 1e3,
        "mcs-table": pd.Series(own_bps) / 1e6,
        "ns-3's error model": rows.error_model_bits_per_ms / 1e3,
    }
    table = pd.concat(
        pd.DataFrame({"snr": rows.snr_db, "mbps": mbps, "curve": name})
        for name, mbps in curves.items()
    )
    return (
        alt.Chart(table, width=520, height=180)
        .mark_line(point=alt.OverlayMarkDef(size=18), interpolate="step-after")
        .encode(
            alt.X("snr", title="SNR, dB"),
            alt.Y("mbps", title="uplink, Mbit/s"),
            alt.Color("curve", legend=alt.Legend(orient="top", title=None)),
            alt.StrokeDash("curve", legend=None, sort=list(curves)),
        )
    )


if __name__ == "__main__":
    errors = picture(pd.concat([of_ns3(), of_traces()]))
    both = alt.vconcat(errors, rates()).resolve_scale(color="independent")
    both.save(sys.argv[1])

"""The time of an upload by exact sharing and by simpler clocks.

python results/transfer/transfer.py [--trace TRACE.up]

Writes uploads.csv, seconds.csv, moments.csv and transfer.svg to this folder. TRACE is
a mahimahi trace of a cell's uplink; without one only the constant cell is computed, and
nothing is written. Seconds of CPU, no torch.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import altair as alt
import pandas as pd

import netsim
from netsim.channel.measured import read_capacity
from netsim.errors import InputError

HERE = Path(__file__).parent
NUM_CLIENTS = 10
BITS = 9.6e6  # of one upload
RADIO_BPS = 10e6
WIDE = "cell.uplink.band=1 GHz"
FROZEN = "cell.uplink.sharing={kind: frozen:FrozenAtStart, cell: 20 MHz}"
CLOCKS = {
    "exact sharing": (),
    "size over the radio's rate": (WIDE,),
    "size over the cell's rate": (WIDE, "population.radio_band=20 MHz"),
    "a tenth of the cell": ("cell.uplink.sharing=equal-fixed",),
    "share frozen at the start": (FROZEN, WIDE),
}
STARTS_S = {
    "together": [0.0] * NUM_CLIENTS,
    "0.2 s apart": [0.2 * n for n in range(NUM_CLIENTS)],
}
MOMENTS_S = range(0, 140, 20)  # of the trace, at which the round starts
COLOURS = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#CC79A7",
)  # safe for colour-blind eyes
SHAPES = ("circle", "triangle-up", "triangle-down", "square", "diamond")


def starting(starts_s: list[float]) -> str:
    """Return the override by which client ``n`` begins after ``starts_s[n]``."""
    ticks = ", ".join(f"{round(start_s * 1e9)} FLOP" for start_s in starts_s)
    return f"learning.compute=[{ticks}]"


def uploads(cell: str, start: str, clock: str, overrides: tuple[str, ...]):
    """Return a row per client: start and end of its upload, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        all_overrides = (starting(STARTS_S[start]), *overrides)
        tasks = netsim.run(
            HERE / "ten.yaml", *all_overrides, out=Path(folder) / "run"
        ).tasks
    return pd.DataFrame(
        {
            "cell": cell,
            "starts": start,
            "clock": clock,
            "client_id": tasks.client_id,
            "start_s": tasks.upload_start_ns / 1e9,
            "end_s": tasks.end_ns / 1e9,
        }
    ).sort_values("client_id")


def of_constant_cell() -> pd.DataFrame:
    """Return all clocks on a cell of 20 Mbit/s."""
    return pd.concat(
        uploads("20 Mbit/s", start, clock, overrides)
        for start in STARTS_S
        for clock, overrides in CLOCKS.items()
    )


def of_trace(path: Path) -> pd.DataFrame:
    """Return the clocks on a measured cell: exact, and others at its mean rate.

    The trace is spread over 20 MHz of which a radio reaches half, as before.
    """
    mean = read_capacity(path, "mahimahi", 20e6).mean_efficiency_bit_s_hz
    radio = f"{{kind: measured, path: {path.resolve()}, reference_band: 20 MHz}}"
    at_mean = f"cell.uplink.radio.max_efficiency={mean!r} bit/s/Hz"
    clocks = {
        "exact sharing": (f"cell.uplink.radio={radio}",),
        "exact sharing of the mean rate": (at_mean,),
        **{name: (*CLOCKS[name], at_mean) for name in list(CLOCKS)[1:]},
    }
    return pd.concat(
        uploads(path.name, start, clock, overrides)
        for start in STARTS_S
        for clock, overrides in clocks.items()
    )


def by_moment(path: Path) -> pd.DataFrame:
    """Return the seconds of a round on a measured cell, by its start."""
    radio = f"{{kind: measured, path: {path.resolve()}, reference_band: 20 MHz}}"
    cell = f"cell.uplink.radio={radio}"
    rows = []
    for moment_s in MOMENTS_S:
        late = f"server.announce_time={moment_s} s"
        found = uploads(path.name, "together", "exact sharing", (cell, late))
        rows.append({"begins_s": moment_s, "round_s": found.end_s.max() - moment_s})
    return pd.DataFrame(rows)


def seconds(found: pd.DataFrame) -> pd.DataFrame:
    """Return by cell, starts and clock: seconds of an upload and of the round, and how
    far both are from the exact ones."""
    found = found.assign(upload_s=found.end_s - found.start_s)
    keys = ["cell", "starts", "clock"]
    table = found.groupby(keys, sort=False).agg(
        mean_upload_s=("upload_s", "mean"),
        longest_upload_s=("upload_s", "max"),
        round_s=("end_s", "max"),
    )
    by_case = table.groupby(["cell", "starts"])  # whose first clock is the exact one
    for name in ("mean_upload", "round"):
        exact_s = by_case[f"{name}_s"].transform("first")
        table[f"{name}_error"] = table[f"{name}_s"] / exact_s - 1
    return table.reset_index()


def picture(found: pd.DataFrame) -> alt.HConcatChart:
    """Return the seconds of each client's upload, by clock."""
    found = found.assign(upload_s=found.end_s - found.start_s)
    names = list(CLOCKS)
    titles = [f"{cell}, {start}" for cell, start, _ in _panels(found)]
    panels = [
        alt.Chart(rows, width=230, height=240, title=title)
        .mark_line(point=alt.OverlayMarkDef(filled=True, size=45))
        .encode(
            alt.X("client_id:O", title="client"),
            alt.Y("upload_s", title="seconds of the upload"),
            alt.Color("clock", scale=alt.Scale(domain=names, range=COLOURS)),
            alt.Shape("clock", scale=alt.Scale(domain=names, range=SHAPES)),
        )
        for title, (_, _, rows) in zip(titles, _panels(found), strict=True)
    ]
    return alt.hconcat(*panels).configure_legend(orient="bottom", title=None)


def _panels(found: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    shown = found[found.clock.isin(CLOCKS)]
    return [
        (cell, start, rows)
        for (cell, start), rows in shown.groupby(["cell", "starts"], sort=False)
    ]


def oversold() -> str:
    """Return the engine's refusal of frozen shares on the real cell."""
    try:
        uploads("", "0.2 s apart", "", (FROZEN,))
    except InputError as error:
        return str(error)
    raise AssertionError("frozen shares fitted into the cell")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", type=Path)
    options = parser.parse_args()
    if options.trace is not None and not options.trace.is_file():
        parser.error(f"--trace: no such file, got '{options.trace}'")
    found = of_constant_cell()
    if options.trace is not None:
        found = pd.concat([found, of_trace(options.trace)])
    table = seconds(found)
    print(table.round(3).to_string(index=False))
    print("frozen shares on the cell itself:", oversold())
    if options.trace is None:
        return
    moments = by_moment(options.trace)
    print(moments.round(3).to_string(index=False))
    moments.round(4).to_csv(HERE / "moments.csv", index=False, lineterminator="\n")
    found.round(6).to_csv(HERE / "uploads.csv", index=False, lineterminator="\n")
    table.round(4).to_csv(HERE / "seconds.csv", index=False, lineterminator="\n")
    picture(found).save(HERE / "transfer.svg")


if __name__ == "__main__":
    main()

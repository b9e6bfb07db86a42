"""Play the patterns of ``plays.py`` with netsim, in a cell given as ns-3's is.

Places, band and powers, the preset `lte-10mhz`, ns-3's units of scheduling, and the
transport of README.md; nothing is taken from a pattern's result.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import pandas as pd
from plays import FIRST_S, STAYS, Phone, Play

from netsim import load_run
from netsim.cosim.reading import parse_scenario
from netsim.cosim.run import run_scenario

SCENARIO = """
name: cell
stop: {{rounds: 1}}
server: {{kind: synchronous, sampling: full, announce_time: 0 s, merge_time: 0 s}}
population:
  num_clients: {num}
  placement: {{kind: points, places: {points}}}
  transmit_power: 23 dBm
  devices:
    - device:
        {{name: stopwatch, peak: 1 GFLOP/s, efficiency: 1, memory: 1 GB,
          compute_power: 0 W, idle_power: 0 W}}
  availability: {availability}
cell:
  preset: lte-10mhz
  path_loss: {{kind: log-distance, exponent: 3.76, reference_loss: 15.3 dB}}
  uplink:
    radio: {{overhead: {overhead}}}
    sharing: whole-blocks
    latency: 22 ms
    transport: {transport}
  downlink: {downlink}
learning:
  kind: none
  download: {download}
  upload: {upload}
  compute: {compute}
"""
TRANSPORT = {
    "today": (
        "{payload: 1448 B, header: 60 B, set_up_round_trips: 1, round_trip: 35 ms,"
        " initial_window: 14480 B, window: 4 MiB}"
    ),
    "shipped": (
        "{payload: 536 B, header: 60 B, set_up_round_trips: 1, round_trip: 35 ms,"
        " initial_window: 5360 B, window: 128 KiB}"
    ),
}
# both of ns-3's schedulers give whole blocks up; down, round robin gives whole groups
DOWN_SHARING = {
    "proportional-fair": "processor-sharing",
    "round-robin": "{kind: whole-blocks, block: 540 kHz, least: 1}",
}
PRESET_OVERHEAD = 0.04  # of the uplink, for control channels
FRAMES = {
    "today": "{payload: 1448 B, header: 60 B}",
    "shipped": "{payload: 536 B, header: 60 B}",
}


def ends(
    play: Play, phones: list[Phone], folder: Path, overhead: float
) -> pd.DataFrame:
    """Return each phone's seconds from its start to its message's last byte, none where
    it never came, and the CPU seconds of the run."""
    text = scenario(play, phones, folder, overhead)
    began_s = time.process_time()
    run_scenario(parse_scenario(text, folder), folder / "run")
    cpu_s = time.process_time() - began_s
    tasks = load_run(folder / "run").tasks.sort_values("client_id")
    is_down = play.downlink
    end_ns = tasks["download_end_ns" if is_down else "end_ns"].astype(float)
    starts_ns = tasks.download_start_ns if is_down else tasks.upload_start_ns
    spans_s = (end_ns - starts_ns.astype(float)) / 1e9
    spans_s[(tasks.status != "done").to_numpy()] = math.nan
    return pd.DataFrame({"netsim_s": spans_s.to_numpy(), "netsim_cpu_s": cpu_s})


def scenario(play: Play, phones: list[Phone], folder: Path, overhead: float) -> str:
    """Return the scenario of a play."""
    sizes = _listed(f"{phone.num_bytes} B" for phone in phones)
    waits = (f"{round((phone.start_s - FIRST_S) * 1e9)} FLOP" for phone in phones)
    transport, frames = TRANSPORT[play.buffers], FRAMES[play.buffers]
    downlink = f"{{latency: 14 ms, transport: {frames}}}"
    if play.pattern == "unicast":
        downlink = (
            f"{{latency: 14 ms, mode: unicast, sharing: {DOWN_SHARING[play.scheduler]},"
            f" transport: {transport}}}"
        )
    is_list = play.pattern != "broadcast"
    return SCENARIO.format(
        num=len(phones),
        points=_listed(f"[{phone.distance_m} m, 0 m]" for phone in phones),
        availability=_availability(phones, folder),
        overhead=overhead,
        transport=transport,
        downlink=downlink,
        download=(sizes if is_list else f"{phones[0].num_bytes} B")
        if play.downlink
        else "0 B",
        upload="0 B" if play.downlink else sizes,
        compute=_listed(waits),
    )


def _availability(phones: list[Phone], folder: Path) -> str:
    if all(phone.leave_s == STAYS for phone in phones):
        return "always"
    rows = ["client_id,start,end"]
    for client_id, phone in enumerate(phones):
        away_s = 1e6 if phone.leave_s == STAYS else phone.leave_s - FIRST_S
        rows.append(f"{client_id},0,{away_s:.3f}")
    (folder / "presence.csv").write_text("\n".join(rows) + "\n")
    return "{kind: trace, path: presence.csv}"


def _listed(values) -> str:
    return f"[{', '.join(values)}]"

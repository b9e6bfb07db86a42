"""What the simulator says beforehand: a run, as a plan to play and ticks to expect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from harness import Part, Plan, Played, Upload
from link import FRAME_BYTES, MTU, Shape

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.scenario import Scenario
from netsim.runs.run import Run, load_run

TCP_IP_BYTES = 20 + 20 + 12  # headers of IPv4 and TCP, with timestamps
PAYLOAD_FACTOR = FRAME_BYTES / (MTU - TCP_IP_BYTES)  # bytes of frames per byte sent


def foreseen(path: Path, overrides: tuple[str, ...], out: Path) -> Run:
    """Return the run of a scenario."""
    run_scenario(read_scenario(path, overrides), out)
    return load_run(out)


def framed(scenario: Scenario) -> tuple[str, ...]:
    """Return the overrides that leave the bands what frames leave of them."""
    cell, radio_band_hz = scenario.cell, scenario.population.radio_band_hz
    bands = {
        "cell.uplink.band": cell.uplink.band_hz,
        "cell.downlink.band": cell.downlink.band_hz,
    }
    changed = [f"{path}={_less(band_hz)}" for path, band_hz in bands.items()]
    if isinstance(radio_band_hz, tuple):
        listed = ", ".join(_less(band_hz) for band_hz in radio_band_hz)
        changed.append(f"population.radio_band=[{listed}]")
    return tuple(changed)


def shape(scenario: Scenario, *, is_fair: bool) -> Shape:
    """Return the link of a scenario whose radios carry one bit per second and hertz."""
    cell, radio_band_hz = scenario.cell, scenario.population.radio_band_hz
    for band in (cell.uplink, cell.downlink):
        assert band.radio.max_efficiency_bit_s_hz == 1.0
    num_clients = scenario.population.num_clients
    ceilings = radio_band_hz if isinstance(radio_band_hz, tuple) else None
    return Shape(
        int(cell.uplink.band_hz),
        int(cell.downlink.band_hz),
        [int(one) for one in ceilings or [cell.uplink.band_hz] * num_clients],
        is_fair,
    )


def plan(run: Run, scenario: Scenario, files: Sequence[Path]) -> Plan:
    """Return what a run did as a plan; client ``n`` sends the end of ``files[n]``."""
    timing = scenario.server.round_timing
    assert timing is not None
    by_round = run.tasks.sort_values("client_id").groupby("round_id")
    return Plan(
        round(timing.announce_s * 1e9),
        round(timing.merge_s * 1e9),
        tuple(tuple(_parts(tasks, files)) for _, tasks in by_round),
    )


def expected(run: Run) -> Played:
    """Return the ticks of a run."""
    tasks = run.tasks.sort_values(["round_id", "client_id"])
    columns = ("round_id", "client_id", "upload_start_ns", "end_ns")
    rows = zip(*(tasks[name].astype(int) for name in columns), strict=True)
    return Played(
        tuple(Upload(*map(int, row)) for row in rows),
        tuple(run.rounds.start_ns.tolist()),
        tuple(run.rounds.end_ns.tolist()),
    )


def _parts(tasks: pd.DataFrame, files: Sequence[Path]) -> list[Part]:
    return [
        Part(
            int(task.client_id),
            int(task.download_bits) // 8,
            int(task.compute_end_ns - task.compute_start_ns),
            int(task.upload_bits) // 8,
            str(files[int(task.client_id)]),
        )
        for task in tasks.itertuples()
    ]


def _less(band_hz: float) -> str:
    return f"{round(band_hz / PAYLOAD_FACTOR)} Hz"

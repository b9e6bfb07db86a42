"""Scenarios with extreme numbers: each must give a sound trace.

``python -m tests.torture.extremes --out DIR``
"""

import argparse
import csv
import shutil
from pathlib import Path

from netsim import load_run
from tests.torture.judging import judged, limit_memory

ONE_HERTZ = "{kind: per-hertz, reference_band: 1 Hz}"
ROUNDS = "{kind: synchronous, announce_time: %s, merge_time: %s, sampling: %s}"
NOBODY = (
    "server={kind: deadline, deadline: 2 ms, announce_time: 1 ms, merge_time: 0 s, "
    "sampling: full}"
)
BUFFERED = (
    "server={kind: buffered, concurrency: 1, buffer_size: 1, merge_time: 0 s}",
    "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, mode: unicast, "
    "sharing: processor-sharing}",
)
EXTREMES = {
    "one client": ("population.num_clients=1", "server.sampling=full"),
    "one client, buffered": ("population.num_clients=1", *BUFFERED),
    "a band of 1 Hz": (
        f"cell.uplink={{band: 1 Hz, radio: {ONE_HERTZ}, sharing: processor-sharing}}",
        "cell.fading=none",
        "learning.upload=1 kB",
    ),
    "a band of 1 THz": ("cell.uplink.band=1 THz",),
    "1e9 s": (
        "stop={time: 1e9 s}",
        f"server={ROUNDS % ('1e8 s', '1e8 s', 'full')}",
    ),
    "1 ns": (f"server={ROUNDS % ('1 ns', '1 ns', 'full')}",),
    "everybody late": (NOBODY,),
    "nobody drawn": ("server.sampling={kind: independent, probability: 1e-300}",),
    "nothing to send": ("learning.upload=0 B", "learning.download=0 B"),
    "nothing to compute": ("learning.compute=0 FLOP",),
    "one bit": ("learning.upload=1 bit", "learning.download=1 bit"),
    "many samples": ("learning.samples_per_client=1000000000",),
    "a huge seed": ("seed=123456789012345678901234567890",),
    "much power": ("population.transmit_power=100 dBm",),
    "next to the mast": (
        "population.placement={kind: disc, radius: 10.1 m, min_distance: 10 m}",
    ),
    "fading every ms": ("cell.fading={kind: rayleigh, coherence_time: 1 ms}",),
    "fading every day": ("cell.fading={kind: rayleigh, coherence_time: 1 day}",),
    "a hundred clients at once": (
        "population.num_clients=100",
        "server.sampling=full",
        "stop={rounds: 1}",
    ),
}
COLUMNS = ("what", "rounds", "simulated s", "seconds", "fault")


def run_extreme(what, folder, limit_s=60.0):
    """Run an extreme and audit it; return a row of figures, and what is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    sets = [
        word for s in ("stop={rounds: 3}", *EXTREMES[what]) for word in ("--set", s)
    ]
    words = ("run", "network-only", *sets, "--quiet", "--out", folder)
    verdict = judged(*words, allowed=(0,), limit_s=limit_s)
    row = {"what": what, "seconds": round(verdict.seconds, 2), "fault": verdict.fault}
    if verdict.fault:
        return row
    audit = judged("verify", folder, allowed=(0,), limit_s=limit_s)
    manifest = load_run(folder).manifest
    figures = {"rounds": manifest.rounds, "simulated s": manifest.sim_time_ns / 1e9}
    return {**row, **figures, "fault": audit.fault}


def main():
    """Write ``extremes.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    limit_memory()
    with (given.out / "extremes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for what in EXTREMES:
            row = run_extreme(what, given.out / "run")
            print(row, flush=True)
            writer.writerow(row)


if __name__ == "__main__":
    main()

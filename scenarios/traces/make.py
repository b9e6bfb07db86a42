"""Write two synthetic traces: a walk among houses, and a tram through a tunnel.

A trace has one timestamp in ms per packet of 1500 bytes, in the format of mahimahi. A
timestamp is written when the integral of the rate reaches the next integer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path


def walk(time_s: float) -> float:
    """Return the packets/s of a walk: 60 on average, with a period of 5 s."""
    return 60 + 40 * math.sin(2 * math.pi * time_s / 5)


def tram(time_s: float) -> float:
    """Return the packets/s of a tram: up to 150 between two stops, 0 in a tunnel."""
    return 0.0 if 9 <= time_s < 13 else 150 * math.sin(math.pi * time_s / 15) ** 2


def timestamps_ms(rate: Callable[[float], float], period_ms: int) -> list[int]:
    """Return the timestamps of packets, in ms, with one packet at the end."""
    found, sent = [], 0.0
    for now_ms in range(1, period_ms):
        before, sent = int(sent), sent + rate(now_ms / 1000) / 1000
        found += [now_ms] * (int(sent) - before)
    return [*found, period_ms]


if __name__ == "__main__":
    for name, rate, period_ms in (("walk", walk, 20_000), ("tram", tram, 15_000)):
        path = Path(__file__).with_name(f"{name}.up")
        path.write_text(
            "".join(f"{time_ms}\n" for time_ms in timestamps_ms(rate, period_ms))
        )

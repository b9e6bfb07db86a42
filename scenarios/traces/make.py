"""Make the traces beside this file: a walk among houses, and a tram through a tunnel.

Each holds one millisecond mark per packet of 1500 bytes, as mahimahi reads them; a mark
comes whenever the integral of a rate in packets per second reaches a whole number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path


def walk(time_s: float) -> float:
    """Around 60 packets/s, up and down with the houses, for 20 s."""
    return 60 + 40 * math.sin(2 * math.pi * time_s / 5)


def tram(time_s: float) -> float:
    """Up to 150 packets/s between two stops 15 s apart, and 4 s of tunnel."""
    return 0.0 if 9 <= time_s < 13 else 150 * math.sin(math.pi * time_s / 15) ** 2


def marks_ms(rate: Callable[[float], float], lap_ms: int) -> list[int]:
    """Return the milliseconds at which a packet may be sent, one packet at the end."""
    marks, sent = [], 0.0
    for now_ms in range(1, lap_ms):
        before, sent = int(sent), sent + rate(now_ms / 1000) / 1000
        marks += [now_ms] * (int(sent) - before)
    return [*marks, lap_ms]


if __name__ == "__main__":
    for name, rate, lap_ms in (("walk", walk, 20_000), ("tram", tram, 15_000)):
        path = Path(__file__).with_name(f"{name}.up")
        path.write_text("".join(f"{mark}\n" for mark in marks_ms(rate, lap_ms)))

"""Let the rate of a device follow a recorded trace, from a tick on.

    python follow.py DEVICE SERVER_ADDRESS TRACE OFFSET_S BEGIN_NS

Runs in the device's namespace until it is ended. The trace is mahimahi's: a line per
packet of 1500 bytes, in ms. Every fifth of a second the token bucket of the device gets
the packets of the next one. A change fills the bucket of three frames, where half a
frame was in the mean; a packet to a closed port, which the trace does not pay for, lets
the kernel look at it at once: a full bucket takes no more.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from client import sleep_until
from wire import hurry

BIN_MS = 200
FRAME_BITS = 8 * 1514  # a packet of 1500 bytes, as `tc` counts it
BURST_BYTES = 3 * 1514  # less lets the kernel's late timers waste tokens
KNOCK_BITS = 8 * (14 + 20 + 8)  # an empty datagram
FILLED_BITS = FRAME_BITS * 5 // 2 - KNOCK_BITS  # by a change
LEAST_BPS = 8_000
CLOSED_PORT = 9


def packets(path: Path, offset_ms: int) -> Iterator[int]:
    """Yield the packets of each fifth of a second from an offset on, without end."""
    times_ms = [max(int(line), 1) for line in path.read_text().split()]
    period_ms = times_ms[-1]
    at = Counter(time_ms % period_ms for time_ms in times_ms)
    for begin_ms in count(offset_ms, BIN_MS):
        # the packets of a mark belong to the millisecond that ends there
        span = range(begin_ms + 1, begin_ms + BIN_MS + 1)
        yield sum(at[time_ms % period_ms] for time_ms in span)


def rates_bps(counts: Iterator[int]) -> Iterator[int | None]:
    """Yield the bucket's rate in each bin, None where it stays at the least; what a
    change gives beyond the trace is owed by the next bins."""
    owed_bits, is_least = 0.0, False
    for number in counts:
        owed_bits += number * FRAME_BITS
        if is_least and owed_bits < FILLED_BITS:
            owed_bits -= LEAST_BPS * BIN_MS / 1000
            yield None
            continue
        owed_bits -= FILLED_BITS
        rate_bps = max(LEAST_BPS, round(owed_bits * 1000 / BIN_MS))
        owed_bits -= rate_bps * BIN_MS / 1000
        is_least = rate_bps == LEAST_BPS
        yield rate_bps


def main() -> None:
    hurry()
    device, address, path, offset_s, begin_ns = sys.argv[1:]
    knock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rates = rates_bps(packets(Path(path), round(float(offset_s) * 1000)))
    for number, rate_bps in enumerate(rates):
        sleep_until(int(begin_ns) + number * BIN_MS * 10**6)
        if rate_bps is not None:
            terms = ["tbf", "rate", f"{rate_bps}bit", "burst", str(BURST_BYTES)]
            at = ["dev", device, "root", "handle", "1:"]
            command = ["tc", "qdisc", "change", *at, *terms, "limit", "150000"]
            subprocess.run(command, check=False)
            knock.sendto(b"", (address, CLOSED_PORT))


if __name__ == "__main__":
    main()

"""A synthetic mahimahi trace that varies like a phone's uplink.

python results/studies/lte_like.py > scenarios/traces/lte-like.up

Twelve seconds, from a fixed seed: the logarithm of the rate is a first-order
autoregression over steps of 100 ms (correlation 0.9, so about a second; spread a factor
of 1.8; median 0.9 Mbit/s), and two times half a second without any service, as at a
hand-over. A line is the millisecond at which a packet of 1500 bytes may go. It is no
measurement: only the shape is that of measured traces.
"""

import numpy as np

STEP_MS, LAP_MS = 100, 12_000
MEDIAN_BPS, SPREAD, CORRELATION = 9e5, np.log(1.8), 0.9
OUTAGES_MS = ((3_400, 3_900), (9_100, 9_600))
PACKET_BITS = 12_000


def rates_bps(rng: np.random.Generator) -> np.ndarray:
    """Return the rate in each millisecond of the trace's period."""
    level, steps = rng.normal(), []
    for _ in range(LAP_MS // STEP_MS):
        level = CORRELATION * level + np.sqrt(1 - CORRELATION**2) * rng.normal()
        steps.append(MEDIAN_BPS * np.exp(SPREAD * level))
    found = np.repeat(steps, STEP_MS)
    for start_ms, end_ms in OUTAGES_MS:
        found[start_ms:end_ms] = 0.0
    return found


def main() -> None:
    """Print the millisecond of every packet; the last line is the trace's period."""
    sent = np.floor(np.cumsum(rates_bps(np.random.default_rng(1)) / 1e3) / PACKET_BITS)
    packets = np.diff(sent, prepend=0.0).astype(int)
    packets[-1] += 1  # the period ends with its last packet
    for mark_ms, count in enumerate(packets, start=1):
        print(f"{mark_ms}\n" * count, end="")


if __name__ == "__main__":
    main()

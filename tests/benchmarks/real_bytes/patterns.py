"""When ten clients begin to send: changes to results/real-bytes/link.yaml."""

from __future__ import annotations

from netsim.core.streams import stream

NUM_CLIENTS = 10


def starting(*starts_s: float) -> tuple[str, ...]:
    """Return the override by which client ``n`` begins after ``starts_s[n]``."""
    ticks = ", ".join(f"{round(start_s * 1e9)} FLOP" for start_s in starts_s)
    return (f"learning.compute=[{ticks}]",)


def poisson_s(mean_gap_s: float) -> list[float]:
    """Return the times of Poisson arrivals, to the millisecond."""
    gaps = stream(1, "poisson arrivals").exponential(mean_gap_s, NUM_CLIENTS)
    return gaps.cumsum().round(3).tolist()


ROUNDS = (
    "stop.rounds=4",
    "server.sampling={kind: independent, probability: 0.6}",
    "population.devices=[{device: raspberry-pi-5}, {device: jetson-nano}]",
    "population.speed_spread={kind: log-normal, sigma: 0.5}",
    "population.compute_jitter=0.1",
    "learning.compute=6 GFLOP",
    "learning.download=[703088 B, 1391240 B, 2767520 B, 531048 B, 703088 B, 1391240 B, "
    "531048 B, 2767520 B, 703088 B, 531048 B]",
)
PATTERNS = {
    "together": (),
    "staggered": starting(*(0.3 * n for n in range(NUM_CLIENTS))),
    "poisson": starting(*poisson_s(0.4)),
    "two waves": starting(*(2.5 * (n % 2) for n in range(NUM_CLIENTS))),
    "rounds": ROUNDS,
}
NO_CEILINGS = ("population.radio_band=null",)
RANKS = (16, 32, 64, 12, 16, 32, 12, 64, 16, 12)  # of the adapters that are sent

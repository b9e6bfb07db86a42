"""Conversion between seconds and simulated time, an integer number of nanoseconds."""

from __future__ import annotations

from netsim.errors import InputError

NS_PER_S = 1_000_000_000
MAX_NS = 2**63 - 1  # the trace stores int64


def to_ns(seconds: float) -> int:
    """Return a duration in ticks of 1 ns, rounded; a positive one is at least 1."""
    if not 0 <= seconds < MAX_NS / NS_PER_S:  # also rejects nan
        raise InputError(
            f"a simulated duration must lie in 0 to 292 years, got {seconds!r} s"
        )
    numerator, denominator = seconds.as_integer_ratio()
    ticks, rest = divmod(numerator * NS_PER_S, denominator)
    if 2 * rest + (ticks & 1) > denominator:  # a tie goes to the even tick
        ticks += 1
    return ticks if ticks or not seconds else 1


def to_s(ticks_ns: int) -> float:
    """Return ticks as seconds, for output and plans; the clock itself uses ticks."""
    return ticks_ns / NS_PER_S

"""The patterns that ns-3 and netsim both play: who sends how much, from where, when."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from typing import NamedTuple

SIZES = (531_048, 703_088, 1_391_240, 2_767_520)  # adapters of ranks 12, 16, 32, 64
FIRST_S = 1.0  # phones attach before
STAYS = -1.0


class Phone(NamedTuple):
    """A phone's distance, its message, and when it starts and leaves."""

    distance_m: float
    num_bytes: int = 1_391_240
    start_s: float = FIRST_S
    leave_s: float = STAYS


class Play(NamedTuple):
    """One run of a pattern."""

    pattern: str
    scheduler: str
    buffers: str
    seed: int
    downlink: bool
    phones: list[Phone]

    def phones_of_cell(self) -> list[Phone]:
        """Return all phones; ns-3 plays a broadcast to the weakest alone."""
        if self.pattern == "broadcast":
            return everybody_down(_draw(self.pattern, self.seed))
        return self.phones


def _draw(pattern: str, seed: int) -> random.Random:
    """Return the draw of a pattern's phones; a broadcast has those of unicast."""
    return random.Random(f"{'unicast' if pattern == 'broadcast' else pattern} {seed}")


def near(draw: random.Random) -> float:
    """Return a distance within the range of the highest rate."""
    return round(draw.uniform(50, 300), 1)


def wide(draw: random.Random) -> float:
    """Return a distance of a whole cell, uniform over its area."""
    return round(max(50.0, 1200 * draw.random() ** 0.5), 1)


def together(draw: random.Random) -> list[Phone]:
    return [Phone(near(draw)) for _ in range(10)]


def alone(draw: random.Random) -> list[Phone]:
    return [Phone(near(draw), draw.choice(SIZES))]


def staggered(draw: random.Random) -> list[Phone]:
    return [
        Phone(near(draw), start_s=round(FIRST_S + 0.3 * n + draw.uniform(0, 0.1), 3))
        for n in range(10)
    ]


def unequal(draw: random.Random) -> list[Phone]:
    return [Phone(near(draw), SIZES[n % 4]) for n in range(12)]


def near_and_far(draw: random.Random) -> list[Phone]:
    return [
        Phone(near(draw) if n % 2 else round(draw.uniform(500, 1000), 1))
        for n in range(8)
    ]


def cell_edge(draw: random.Random) -> list[Phone]:
    return [Phone(round(draw.uniform(1000, 1500), 1), 531_048) for _ in range(4)]


def one_leaves(draw: random.Random) -> list[Phone]:
    phones = [Phone(near(draw)) for _ in range(5)]
    gone_s = round(FIRST_S + draw.uniform(0.4, 0.8), 3)
    return [*phones, Phone(near(draw), 2_767_520, leave_s=gone_s)]


def full_cell(draw: random.Random) -> list[Phone]:
    return [Phone(wide(draw), 531_048) for _ in range(40)]


def everybody_down(draw: random.Random) -> list[Phone]:
    return [Phone(wide(draw)) for _ in range(10)]


def weakest_down(draw: random.Random) -> list[Phone]:
    """A broadcast is one message at the rate of the weakest phone, here alone."""
    return [max(everybody_down(draw))]


UPLOADS = {
    "one alone": alone,
    "together": together,
    "staggered": staggered,
    "unequal sizes": unequal,
    "near and far": near_and_far,
    "cell edge": cell_edge,
    "one leaves": one_leaves,
    "full cell": full_cell,
}
DOWNLOADS = {"unicast": everybody_down, "broadcast": weakest_down}
RUNS = (
    ("today", "proportional-fair"),
    ("today", "round-robin"),
    ("shipped", "proportional-fair"),
)
PATTERNS = {**UPLOADS, **DOWNLOADS}
SEEDS = range(1, 6)


def plays() -> Iterator[Play]:
    """Yield all plays."""
    for buffers, scheduler in RUNS:
        for seed in SEEDS:
            for name, make in PATTERNS.items():
                phones = make(_draw(name, seed))
                yield Play(name, scheduler, buffers, seed, name in DOWNLOADS, phones)


if __name__ == "__main__":
    json.dump([one._asdict() for one in plays()], sys.stdout)

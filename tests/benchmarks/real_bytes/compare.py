"""Simulated against measured: one row per upload and per round, and their errors.

An error is simulated over measured, less one: 0.01 says that the simulator was one per
cent late.
"""

from __future__ import annotations

import pandas as pd
from harness import Played

NS_PER_S = 1e9


def uploads(measured: Played, simulated: Played) -> pd.DataFrame:
    """Return a row per upload: seconds after the round's start at which it began and
    was there, measured and simulated."""
    rows = []
    for real, model in zip(measured.uploads, simulated.uploads, strict=True):
        assert (real.round_id, real.client_id) == (model.round_id, model.client_id)
        real_ns = measured.round_starts_ns[real.round_id - 1]
        model_ns = simulated.round_starts_ns[real.round_id - 1]
        rows.append(
            {
                "round_id": real.round_id,
                "client_id": real.client_id,
                "measured_start_s": (real.start_ns - real_ns) / NS_PER_S,
                "measured_end_s": (real.end_ns - real_ns) / NS_PER_S,
                "simulated_start_s": (model.start_ns - model_ns) / NS_PER_S,
                "simulated_end_s": (model.end_ns - model_ns) / NS_PER_S,
                "num_resent": real.num_resent,
            }
        )
    table = pd.DataFrame(rows)
    table["duration_error"] = error(
        table.simulated_end_s - table.simulated_start_s,
        table.measured_end_s - table.measured_start_s,
    )
    table["completion_error"] = error(table.simulated_end_s, table.measured_end_s)
    return table


def rounds(measured: Played, simulated: Played) -> pd.DataFrame:
    """Return a row per round: its seconds, and those from the run's start on."""
    spans = {
        f"{name}_{part}_s": [
            (end_ns - start_ns) / NS_PER_S
            for start_ns, end_ns in zip(starts, played.round_ends_ns, strict=True)
        ]
        for name, played in (("measured", measured), ("simulated", simulated))
        for part, starts in (
            ("round", played.round_starts_ns),
            ("until", [0] * len(played.round_ends_ns)),
        )
    }
    table = pd.DataFrame(spans)
    table.insert(0, "round_id", range(1, len(table) + 1))
    table["round_error"] = error(table.simulated_round_s, table.measured_round_s)
    table["until_error"] = error(table.simulated_until_s, table.measured_until_s)
    return table


def error(simulated: pd.Series, measured: pd.Series) -> pd.Series:
    """Return how much too late, as a part of what was measured."""
    return simulated / measured - 1


def spread(errors: pd.Series) -> dict[str, float]:
    """Return the errors' mean with its sign, and of their sizes the median, the 95th
    percentile and the worst."""
    sizes = errors.abs()
    return {
        "mean": errors.mean(),
        "median_size": sizes.median(),
        "p95_size": sizes.quantile(0.95),
        "worst_size": sizes.max(),
    }

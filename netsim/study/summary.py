"""From a study's table to its statistics: one row per combination and target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd

from netsim.core.streams import stream
from netsim.study.statistics import (
    Ratio,
    Sample,
    horizon,
    paired_ratio,
    restricted_mean,
    restricted_ratio,
)
from netsim.study.student import MIN_SEEDS, holm, seeds_needed

DIFFERENCES = (0.05, 0.1, 0.2)
SURE = 0.05  # a smaller p-value, corrected, is called a difference
USED = {
    "energy": ("energy_j",),
    "bits": ("upload_bits", "download_bits"),
    "rounds": ("rounds",),
}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return statistics of a study's table: each combination against its baseline.

    Seeds that only one of the two has finished are left out; ``num_seeds`` counts the
    others. ``speedup`` is baseline time through own time, the other ratios are own
    through baseline. ``_low`` and ``_high`` are of the bootstrap, ``_t_low`` and
    ``_t_high`` of Student's t, ``_least`` and ``_most`` of single seeds.
    ``speedup_p_holm`` is corrected for all comparisons of the study, and
    ``seeds_for_5_percent`` counts the seeds that would show such a difference.
    """
    done = table[table["status"] == "complete"]
    rows = []
    for (variant, target), own in done.groupby(["variant", "target"], sort=False):
        name = str(own["baseline"].iloc[0])
        other = done[(done["variant"] == name) & (done["target"] == target)]
        pair = _paired(own, other)
        rows.append(
            {"variant": variant, "target": target, "baseline": name, **_row(*pair)}
        )
    if not rows:
        return pd.DataFrame(columns=["variant", "target"])
    found = pd.DataFrame(rows)
    is_compared = found["variant"] != found["baseline"]
    found["speedup_p_holm"] = holm(found["speedup_p"].where(is_compared).tolist())
    for difference in DIFFERENCES:
        spreads = found["speedup_spread"].where(is_compared)
        needed = [None if np.isnan(s) else seeds_needed(s, difference) for s in spreads]
        found[seeds_column(difference)] = pd.array(needed, dtype="Int64")
    return found


def seeds_column(difference: float) -> str:
    """Return the column of how many seeds would show a relative difference."""
    return f"seeds_for_{100 * difference:.0f}_percent"


def _paired(
    own: pd.DataFrame, other: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both arms' rows of the seeds that both have, in the same order."""
    seeds = sorted(set(own["seed"]) & set(other["seed"]))
    left, right = (frame.set_index("seed").loc[seeds] for frame in (own, other))
    return left, right


def _row(own: pd.DataFrame, other: pd.DataFrame) -> dict[str, object]:
    """Return the statistics of one arm and its baseline, rows in the same order."""
    found: dict[str, object] = {
        "num_seeds": len(own),
        "num_reached": int(own["is_reached"].sum()),
        "baseline_reached": int(other["is_reached"].sum()),
    }
    mine, theirs = _sample(own, "time_ns"), _sample(other, "time_ns")
    found |= _times(mine, theirs)
    found |= _ratio("speedup", paired_ratio, theirs, mine)
    found |= _ratio("restricted_speedup", restricted_ratio, theirs, mine)
    for name, columns in USED.items():
        pair = _sample(own, *columns), _sample(other, *columns)
        found |= _ratio(f"{name}_ratio", paired_ratio, *pair)
    return found


def _times(mine: Sample, theirs: Sample) -> dict[str, object]:
    """Return the horizon and both restricted means, in seconds."""
    if not len(mine.values):
        return dict.fromkeys(["horizon_s", "mean_time_s", "baseline_mean_time_s"])
    until = horizon(mine, theirs)
    return {
        "horizon_s": until / 1e9,
        "mean_time_s": restricted_mean(mine, until) / 1e9,
        "baseline_mean_time_s": restricted_mean(theirs, until) / 1e9,
    }


def _sample(rows: pd.DataFrame, *columns: str) -> Sample:
    values = rows[list(columns)].sum(axis=1).to_numpy(dtype=np.float64)
    return Sample(values, rows["is_reached"].to_numpy(dtype=bool))


def _ratio(
    name: str,
    estimate: Callable[[Sample, Sample, np.random.Generator], Ratio],
    over: Sample,
    under: Sample,
) -> dict[str, object]:
    """Return an estimate as columns; all resamples draw the same seeds."""
    ratio = estimate(over, under, stream(0, "study", "bootstrap"))
    more = {key: value for key, value in asdict(ratio).items() if key != "value"}
    return {name: ratio.value, **{f"{name}_{key}": more[key] for key in more}}


def sentence(row: pd.Series) -> str:
    """Return one row of the summary in plain words."""
    if not row["num_seeds"]:
        return f"{row['variant']}: no seed is finished here and for the baseline"
    if row["variant"] == row["baseline"]:
        return f"{row['variant']}: the baseline{_mean(row)}{_reached(row)}"
    return f"{row['variant']}: {_speed(row)}{_reached(row)}"


def _speed(row: pd.Series) -> str:
    """Return how much sooner, and at what cost, or what is known of it."""
    if row["speedup_bound"] == "unknown":
        return _restricted(row)
    ratio, word = row["speedup"], "faster than"
    bounds = {"at least": "at least ", "at most": "at most ", "exact": ""}
    words = bounds[str(row["speedup_bound"])]
    text = f"{words}{ratio:.2g}x {word} {row['baseline']}"
    if ratio < 1:
        text = f"{words}{ratio:.2g}x as fast as {row['baseline']}"
    costs = [
        f"{bounds[str(row[f'{name}_ratio_bound'])]}{row[f'{name}_ratio']:.2g}x {words}"
        for name, words in (("energy", "the energy"), ("bits", "the bits"))
        if row[f"{name}_ratio_bound"] != "unknown"
    ]
    return ", ".join([f"{text}{_interval(row, 'speedup')}", *costs])


def _restricted(row: pd.Series) -> str:
    """Return the comparison of means within the time for which all were watched."""
    if not row["num_reached"] and not row["baseline_reached"]:
        return f"neither it nor {row['baseline']} got there"
    if not row["horizon_s"]:
        return f"there before the first round, as {row['baseline']}"
    text = (
        f"in the first {row['horizon_s']:.3g} s a mean of {row['mean_time_s']:.3g} s "
        f"against {row['baseline_mean_time_s']:.3g} s of {row['baseline']}"
    )
    if pd.isna(row["restricted_speedup"]):
        return text
    shown = f"{row['restricted_speedup']:.2g}x"
    return f"{text}, {shown}{_interval(row, 'restricted_speedup')}"


def _interval(row: pd.Series, name: str) -> str:
    """Return the intervals in words; of few seeds, what each of them shows."""
    shown = [
        f"{row[f'{name}_{end}low']:.2g} to {row[f'{name}_{end}high']:.2g} by {how}"
        for end, how in (("t_", "Student's t"), ("", "bootstrap"))
        if not pd.isna(row[f"{name}_{end}low"])
    ]
    if shown:
        return f" (95 %: {', '.join(shown)})"
    if pd.isna(row[f"{name}_least"]):
        return ""
    seeds = "1 seed" if row["num_seeds"] == 1 else f"{row['num_seeds']} seeds"
    return f" ({seeds}, {row[f'{name}_least']:.2g} to {row[f'{name}_most']:.2g})"


def evidence(summary: pd.DataFrame) -> Iterator[str]:
    """Yield what all comparisons of a study show together, and how many seeds would
    show more."""
    if "speedup_p" not in summary:
        return
    compared = summary[summary["variant"] != summary["baseline"]]
    compared = compared[compared["num_seeds"] > 0]
    if compared.empty:
        return
    if compared["num_seeds"].max() < MIN_SEEDS:
        yield f"no interval: fewer than {MIN_SEEDS} seeds"
    elif tested := int(compared["speedup_p"].notna().sum()):
        differ = compared[compared["speedup_p_holm"] < SURE]
        yield (
            f"{len(differ)} of {tested} comparisons differ from the baseline "
            f"(Student's t, Holm's correction, p < {SURE:g})"
        )
    spread = compared.dropna(subset="speedup_spread").sort_values("speedup_spread")
    if not spread.empty:
        row = spread.iloc[-1]
        needed = [str(row[seeds_column(one)]) for one in DIFFERENCES]
        yield (
            "seeds that would show a difference of 5, 10, 20 % in time (power 80 %): "
            f"{', '.join(needed)} for {row['variant']}, the widest spread"
        )


def _mean(row: pd.Series) -> str:
    word = "" if row["num_reached"] == row["num_seeds"] else "restricted "
    return f", {word}mean {row['mean_time_s']:.3g} s"


def _reached(row: pd.Series) -> str:
    """Say in how many seeds the target was met, where it was not in all."""
    if row["num_reached"] == row["num_seeds"]:
        return ""
    return f"; got there in {row['num_reached']} of {row['num_seeds']} seeds"

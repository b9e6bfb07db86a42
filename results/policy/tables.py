"""From a table of runs: speed-ups with intervals, predicted against simulated, nu.

pip install -c constraints.txt -e '.[report]'
python results/policy/study.py results/studies/policy results/policy/runs.csv
python results/policy/tables.py results/policy/runs.csv

Writes speedups.csv, calibration.csv, nu.csv and two pictures to this folder, and the
tables of README.md to standard output.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

HERE = Path(__file__).parent
NUM_RESAMPLES = 10_000
CHARGED, FREE = "time_s", "time_without_pilots_s"
KINDS = {CHARGED: "pilots charged", FREE: "pilots free"}
SHARES = {
    "equal-fixed": ", equal shares",
    "equal-finish": "",
    "processor-sharing": ", processor sharing",
}


def family(arm: str) -> str:
    """Return an arm's name without the number that a sweep tunes."""
    return re.sub(r" [\d.]+", "", arm)


def tuned(runs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return per fleet and family the arm of the least mean time to the target, of
    those that met it in every seed; of a family that has none, any."""
    means = runs.groupby(["fleet", "arm"], sort=False)[CHARGED].agg(
        lambda times: times.mean(skipna=False)
    )
    found: dict[str, dict[str, str]] = {}
    for (fleet, arm), time_s in means.items():
        best = found.setdefault(fleet, {}).setdefault(family(arm), arm)
        if time_s < means[fleet, best] or pd.isna(means[fleet, best]):
            found[fleet][family(arm)] = arm
    return found


def interval(logs: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a geometric mean over seeds."""
    drawn = np.random.default_rng(1).choice(logs, (NUM_RESAMPLES, len(logs)))
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return float(np.exp(low)), float(np.exp(high))


def compared(over: pd.Series, under: pd.Series) -> dict[str, float]:
    """Return the time of ``over`` relative to ``under``, paired by seed, if both
    reached the target with every seed."""
    logs = np.log(over / under).to_numpy()
    low, high = interval(logs)
    return {"speedup": float(np.exp(logs.mean())), "low": low, "high": high}


def speedups(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the speed-up of each arm over tuned uniform sampling."""
    rows = []
    for fleet, best in tuned(runs).items():
        here = runs[runs.fleet == fleet].set_index(["arm", "seed"])
        baseline = here.loc[best["uniform q"]][CHARGED]
        for arm in here.index.unique("arm"):
            for column, kind in KINDS.items():
                times = here.loc[arm][column]
                names = {"fleet": fleet, "arm": arm, "kind": kind}
                names |= {"family": family(arm), "is_tuned": arm in best.values()}
                means = {
                    "baseline": best["uniform q"],
                    "time_s": times.mean(skipna=False),
                    "pilot_s": here.loc[arm].pilot_s.mean(),
                }
                rows.append({**names, **means, **compared(baseline, times)})
    return pd.DataFrame(rows)


def calibration(runs: pd.DataFrame) -> pd.DataFrame:
    """Return predicted and simulated rounds and seconds to the planned loss."""
    known = runs.dropna(subset=["predicted_s", "simulated_s"]).copy()
    known["error_s"] = known.predicted_s / known.simulated_s - 1
    known["error_rounds"] = known.predicted_rounds / known.simulated_rounds - 1
    known["error_round_time"] = (1 + known.error_s) / (1 + known.error_rounds) - 1
    names = ["fleet", "arm", "seed", "predicted_rounds", "simulated_rounds"]
    names += ["predicted_s", "simulated_s"]
    return known[[*names, "error_rounds", "error_round_time", "error_s"]]


def shown(row: pd.Series | None) -> str:
    """Return a speed-up as text, or a dash."""
    if row is None or pd.isna(row.speedup):
        return "-"
    return f"{row.speedup:.2f} ({row.low:.2f}-{row.high:.2f})"


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main_table(table: pd.DataFrame) -> str:
    """Return a row per family and two columns per fleet: the tuned arm's speed-ups."""
    is_other_rule = table.family.str.match("(uniform|adaptive) q.* (shares|sharing)$")
    table = table[~is_other_rule]
    picked = table[table.is_tuned].set_index(["family", "fleet", "kind"])
    fleets = list(table.fleet.unique())
    rows = []
    for name in table.family.unique():
        cells = [name]
        for fleet in fleets:
            if (name, fleet, KINDS[FREE]) not in picked.index:
                cells += ["-"]
                continue
            free, charged = (picked.loc[name, fleet, kind] for kind in KINDS.values())
            number = re.search(r"[\d.]+", free.arm)
            if name == "uniform q":
                cells.append(f"1 (q {number[0]}: {free.time_s:.3g} s)")
                continue
            note = f", {number[0]}" if number else ""
            paid = f"; charged {free.speedup:.2f}" if charged.pilot_s else ""
            cells.append(shown(charged) + paid + note)
        rows.append(cells)
    return markdown(["policy", *fleets], rows)


def ratio(runs: pd.DataFrame, fleet: str, slow: str, fast: str) -> str:
    """Return the time of one arm relative to another, pilots not charged."""
    here = runs[runs.fleet == fleet].set_index(["arm", "seed"])[FREE]
    if slow not in here.index or fast not in here.index:
        return "-"
    return shown(pd.Series(compared(here.loc[slow], here.loc[fast])))


def ablations(runs: pd.DataFrame) -> str:
    """Return, per fleet and part of the joint design, the time without the part
    relative to the time with it."""
    fleets = list(runs.fleet.unique())
    best = {fleet: arms["uniform q"] for fleet, arms in tuned(runs).items()}
    parts = {
        "sketching: adaptive q, full k / joint": ("adaptive q, full k", "joint"),
        "sampling: uniform q 0.3, adaptive k / joint": (
            "uniform q 0.3, adaptive k",
            "joint",
        ),
        "bandwidth: joint, equal shares / joint": ("joint, equal shares", "joint"),
    }
    for policy in ("adaptive q, full k", "uniform q 0.15"):
        for rule in ("equal-fixed", "processor-sharing"):
            name = f"{policy}: {rule} / equal-finish"
            parts[name] = (policy + SHARES[rule], policy)
    rows = [[n, *(ratio(runs, f, *pair) for f in fleets)] for n, pair in parts.items()]
    whole = [ratio(runs, fleet, best[fleet], "joint") for fleet in fleets]
    most = [ratio(runs, fleet, "full participation", "joint") for fleet in fleets]
    rows += [["all: tuned uniform q / joint", *whole]]
    rows += [["all: full participation / joint", *most]]
    return markdown(["part", *fleets], rows)


def speedup_picture(table: pd.DataFrame) -> alt.FacetChart:
    is_other = table.arm != table.baseline
    picked = table[table.is_tuned & is_other & table.speedup.notna()]
    base = alt.Chart(picked, width=180, height=300)
    title = "speed-up over tuned uniform"
    axis = alt.Axis(values=[0.2, 0.5, 1, 2, 3])
    scale = alt.Scale(type="log", domain=[0.18, 3], nice=False, clamp=True)
    points = base.mark_point(filled=True, size=40).encode(
        alt.X("speedup", title=title, scale=scale, axis=axis),
        alt.Y("family", sort=list(table.family.unique()), title=None),
        alt.Color("kind", title=None),
        alt.YOffset("kind"),
    )
    bars = base.mark_rule().encode(
        alt.X("low", title=title, scale=scale),
        alt.X2("high"),
        alt.Y("family", sort=list(table.family.unique())),
        alt.Color("kind"),
        alt.YOffset("kind"),
    )
    line = base.mark_rule(strokeDash=[4, 4], color="gray").encode(x=alt.datum(1.0))
    fleets = alt.Facet("fleet", title=None, sort=list(table.fleet.unique()))
    return (points + bars + line).facet(facet=fleets, columns=3)


def calibration_picture(table: pd.DataFrame) -> alt.LayerChart:
    base = alt.Chart(table.assign(ratio=1 + table.error_s), width=420, height=240)
    title = "predicted / simulated time to the planned loss"
    points = base.mark_point(filled=True, size=40).encode(
        alt.X("fleet", sort=None, title=None, axis=alt.Axis(labelAngle=-20)),
        alt.Y("ratio", title=title, scale=alt.Scale(zero=False)),
        alt.XOffset("arm", sort=None),
        alt.Color("arm", sort=None, title=None),
    )
    line = base.mark_rule(color="gray").encode(y=alt.datum(1.0))
    return line + points


def main() -> None:
    runs = pd.read_csv(sys.argv[1])
    table = speedups(runs)
    table.round(4).to_csv(HERE / "speedups.csv", index=False)
    speedup_picture(table).save(HERE / "speedups.svg")
    print(main_table(table), "\n")
    print(ablations(runs), "\n")
    known = calibration(runs)
    known.round(4).to_csv(HERE / "calibration.csv", index=False)
    calibration_picture(known).save(HERE / "calibration.svg")
    errors = known[["error_rounds", "error_round_time", "error_s"]]
    by_fleet = known.groupby("fleet", sort=False)
    print(errors.abs().groupby(known.fleet, sort=False).mean().round(3))
    print(by_fleet[list(errors)].median().round(3), "\n")
    measured = runs.dropna(subset=["nu"]).drop_duplicates(["fleet", "seed"])
    nu = measured[["fleet", "seed", "nu", "nu_error"]]
    nu.round(4).to_csv(HERE / "nu.csv", index=False)
    print(nu.round(2).to_string(index=False))


if __name__ == "__main__":
    main()

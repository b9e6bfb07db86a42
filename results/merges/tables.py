"""From finished studies of merges to tables and pictures.

pip install -c constraints.txt -e '.[test]'
python results/merges/tables.py results/studies

Reads merges-methods, -seeds, -skew and -clients there, as far as they are finished,
and identical.csv here. Writes runs.csv, divergence.csv, paired.csv, same-uploads.csv,
correlation.csv and four pictures to this folder, and prints the tables of README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

import netsim
from netsim.study import folder_name

HERE = Path(__file__).parent
INEXACT = (
    *("FedIT", "HetLoRA", "LoRA-FAIR", "FLoRA-NA"),
    *("FLoRIST", "free ALS", "thin SVD", "residual 8"),
)
COMPARED = ("FedIT", "FLoRA-NA", "thin SVD", "full average")
DEFAULTS = {"alpha": 0.1, "clients": 20}
NUM_RESAMPLES = 2_000
NUM_COMMON = 3  # seeds that all arms have
FACTOR, DENSE, CORE = 8 * 64, 64 * 64, 8 * 8  # numbers of a factor, a matrix, a core
HEAD, NUM_MATRICES = 650, 6
SENT = {  # numbers per matrix up and down, by each paper's formula, without the head
    **dict.fromkeys(
        (
            "FedIT",
            "FLoRA-NA",
            "thin SVD",
            "free ALS",
            "LoRA-FAIR",
            "FlexLoRA",
            "HetLoRA",
        ),
        (2 * FACTOR, 2 * FACTOR),
    ),
    "FFA-LoRA": (FACTOR, FACTOR),
    "RoLoRA": (FACTOR, FACTOR),
    "FedSVD": (FACTOR, 2 * FACTOR),
    "Fed-SB": (CORE, CORE),
    "FLoRA": (2 * FACTOR, DENSE + FACTOR),  # less than a stack of 20 pairs; the new A
    "FedEx-LoRA": (2 * FACTOR, 2 * FACTOR + DENSE),
    "residual 8": (2 * FACTOR, 4 * FACTOR),
    "full average": (2 * FACTOR, DENSE + FACTOR),  # with the A that restarts
}


def finished(studies: Path) -> Iterator[tuple[dict[str, object], netsim.runs.run.Run]]:
    """Yield every finished run with its settings."""
    for name in ("methods", "seeds", "skew", "clients"):
        folder = studies / f"merges-{name}"
        if not folder.is_dir():
            continue
        table = netsim.load_study(folder).table
        axes = [axis for axis in ("alpha", "clients", "method") if axis in table]
        for one in table[table.status == "complete"].to_dict("records"):
            arm = "+".join(folder_name(one[axis]) for axis in axes)
            run = netsim.load_run(folder / "runs" / arm / str(one["seed"]))
            own = {axis: float(one[axis]) for axis in axes if axis != "method"}
            yield (
                {**DEFAULTS, **own, "method": one["method"], "seed": one["seed"]},
                run,
            )


def ends(run: netsim.runs.run.Run) -> dict[str, float]:
    """Return the final figures of a run, and a client's traffic per round."""
    shared = run.evals[run.evals.client_id.isna()]
    gap = run.local_gap()
    later = run.tasks[run.tasks.round_id > 1]  # the first download is everybody's
    found = {
        "rounds": len(run.rounds),
        "accuracy": shared.accuracy.iloc[-1],
        "late_accuracy": shared.accuracy.iloc[-3:].mean(),
        "early_accuracy": shared.accuracy.iloc[3:6].mean(),  # rounds 3 to 5
        "loss": shared.loss.iloc[-1],
        "mean_error": run.merges.relative_error.mean(),
        "early_error": run.merges[run.merges.round_id <= 5].relative_error.mean(),
        "update_error": run.merges.update_relative_error.mean(),
        "up_kilobytes": later.upload_bits.mean() / 8e3,
        "down_kilobytes": later.download_bits.mean() / 8e3,
    }
    if len(gap):
        found["own"] = gap.accuracy_personal.iloc[-1]
        found["shared"] = gap.accuracy_global.iloc[-1]
    return found


def check_traffic(runs: pd.DataFrame) -> None:
    """Check the bits of a trace against the papers' formulas."""
    here = runs[runs.clients == DEFAULTS["clients"]]
    for one in here.to_dict("records"):
        for numbers, way in zip(
            SENT.get(one["method"], ()), ("up", "down"), strict=False
        ):
            expected = (NUM_MATRICES * numbers + HEAD) * 4 / 1e3
            assert abs(one[f"{way}_kilobytes"] - expected) < 1e-6, (one, expected)


def divergences(studies: Path) -> pd.DataFrame:
    """Return the error of every merge that is not exact, by round and layer."""
    frames = [
        run.merges.assign(**names)
        for names, run in finished(studies)
        if names["method"] in INEXACT and DEFAULTS.items() <= names.items()
    ]
    found = pd.concat(frames)
    found["layer"] = found.layer.astype(str).str.removeprefix("vit.layers.")
    return found[["method", "seed", "round_id", "layer", "relative_error"]]


def interval(values: pd.Series) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval by Student's t."""
    mean, error = values.mean(), values.sem()
    reach = stats.t.ppf(0.975, len(values) - 1) * error if len(values) > 1 else np.nan
    return mean, mean - reach, mean + reach


def paired(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the difference of each arm from FedIT, paired by seed."""
    columns = ("accuracy", "late_accuracy", "early_accuracy", "own", "shared")
    rows = []
    for (alpha, clients), here in runs.groupby(["alpha", "clients"]):
        by_method = {
            name: own.set_index("seed") for name, own in here.groupby("method")
        }
        for name, own in by_method.items():
            base = "FedIT" + name[name.find(",") :] if "," in name else "FedIT"
            if name == base or base not in by_method:
                continue
            for column in columns:
                gains = (own[column] - by_method[base][column]).dropna()
                mean, low, high = interval(gains)
                rows.append(
                    {
                        "alpha": alpha,
                        "clients": clients,
                        "method": name,
                        "of": column,
                        "gain": mean,
                        "low": low,
                        "high": high,
                        "num_seeds": len(gains),
                    }
                )
    return pd.DataFrame(rows)


OCCASION = ["setting", "seed", "round_id"]  # all merges of one are of the same uploads


def below_oracle(merges: pd.DataFrame) -> pd.DataFrame:
    """Return merges with each model's difference from the exact merge of its
    uploads."""
    exact = merges[merges.method == "full-average"].set_index(OCCASION)
    exact = exact[["loss", "accuracy"]].add_suffix("_exact")
    found = merges[merges.method != "full-average"].join(exact, on=OCCASION)
    found["gain"] = found.accuracy - found.accuracy_exact
    found["loss_rise"] = found.loss - found.loss_exact
    return found


def correlations(merges: pd.DataFrame) -> pd.DataFrame:
    """Return the correlation of merge error with accuracy and with loss, overall and
    per setting: raw, and with the means of the same uploads subtracted, which removes
    rounds and seeds. Intervals are from a bootstrap over runs."""
    columns = ["mean_error", "accuracy", "loss"]
    groups = merges.groupby(OCCASION)[columns]
    within = merges.assign(**(merges[columns] - groups.transform("mean")))
    rng = np.random.default_rng(1)
    rows = []
    for setting in ("all", *merges.setting.unique()):
        for kind, table in (("raw", merges), ("same uploads", within)):
            here = table if setting == "all" else table[table.setting == setting]
            for of in ("accuracy", "loss"):
                for name in ("pearson", "spearman"):
                    value = here.mean_error.corr(here[of], method=name)
                    low, high = bootstrap(here, of, name, rng)
                    rows.append([setting, kind, of, name, value, low, high, len(here)])
    names = ["setting", "kind", "of", "measure", "correlation", "low", "high", "merges"]
    return pd.DataFrame(rows, columns=names)


def gains_over_average(merges: pd.DataFrame) -> pd.DataFrame:
    """Return the gain of each merge over FedIT's merge of the same uploads: the mean
    over the rounds of a run, then over runs, with its 95 % interval."""
    fedit = merges[merges.method == "fedit"].set_index(OCCASION)
    joined = merges.join(fedit[["accuracy"]].add_suffix("_fedit"), on=OCCASION)
    joined["gain"] = joined.accuracy - joined.accuracy_fedit
    by_run = joined.groupby(["setting", "method", "seed"], sort=False)
    means = by_run[["mean_error", "accuracy", "gain"]].mean()
    rows = {}
    for key, own in means.groupby(["setting", "method"], sort=False):
        mean, low, high = interval(own.gain)
        rows[key] = {**own[["mean_error", "accuracy"]].mean(), "gain": mean}
        rows[key] |= {"low": low, "high": high, "num_runs": len(own)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(
        ["setting", "method"]
    )


def bootstrap(
    here: pd.DataFrame, of: str, kind: str, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % interval of a correlation, whole runs drawn with replacement."""
    pairs = [
        own[["mean_error", of]].to_numpy()
        for _, own in here.groupby(["setting", "seed"])
    ]
    found = []
    for _ in range(NUM_RESAMPLES):
        drawn = np.concatenate(
            [pairs[i] for i in rng.integers(len(pairs), size=len(pairs))]
        )
        if kind == "spearman":
            drawn = stats.rankdata(drawn, axis=0)
        found.append(np.corrcoef(drawn.T)[0, 1])
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def divergence_picture(found: pd.DataFrame) -> alt.HConcatChart:
    """Return the merge error over rounds and over layers."""
    rounds = found.groupby(["method", "seed", "round_id"]).relative_error.mean()
    layers = found.groupby(["method", "layer"]).relative_error.mean()
    axis = alt.Y("error:Q", title="error relative to the ideal merge")
    by_round = rounds.groupby(["method", "round_id"]).agg(
        error="mean", low="min", high="max"
    )
    base = alt.Chart(by_round.reset_index(), width=300, height=220).encode(
        alt.X("round_id:Q", title="round"),
        alt.Color("method:N", sort=list(INEXACT), legend=alt.Legend(symbolOpacity=1)),
    )
    bands = base.mark_area(opacity=0.15).encode(alt.Y("low:Q"), alt.Y2("high:Q"))
    bars = (
        alt.Chart(layers.rename("error").reset_index(), width=400, height=220)
        .mark_bar()
        .encode(
            alt.X("layer:N", title="adapted matrix", axis=alt.Axis(labelAngle=-30)),
            axis,
            alt.XOffset("method:N", sort=list(INEXACT)),
            alt.Color("method:N", sort=list(INEXACT)),
        )
    )
    return bands + base.mark_line().encode(axis) | bars


def local_picture(runs: pd.DataFrame) -> alt.LayerChart:
    """Return own against global accuracy on clients' own labels, at the end."""
    here = runs[
        (runs.alpha == DEFAULTS["alpha"]) & (runs.clients == DEFAULTS["clients"])
    ]
    long = here[here.rounds == here.rounds.max()].melt(
        id_vars=["method", "seed"], value_vars=["own", "shared"], var_name="adapter"
    )
    long["adapter"] = long.adapter.map({"own": "own", "shared": "global"})
    title = "accuracy on the clients' own labels"
    return spread(long, "value", title, x="method", colour="adapter")


def spread(
    table: pd.DataFrame, of: str, title: str, *, x: str, colour: str
) -> alt.LayerChart:
    """Return means as points and ranges over seeds as lines."""
    found = table.groupby([x, colour], sort=False)[of].agg(["mean", "min", "max"])
    sort = None if x == "method" else "ascending"
    base = alt.Chart(found.reset_index(), width=alt.Step(9), height=220).encode(
        alt.X(
            f"{x}:O", sort=sort, axis=alt.Axis(labelAngle=-30 if sort is None else 0)
        ),
        alt.XOffset(f"{colour}:N", sort=None),
        alt.Color(f"{colour}:N", sort=None),
    )
    axis = {"title": title, "scale": alt.Scale(zero=False)}
    points = base.mark_point(filled=True, size=45).encode(alt.Y("mean:Q", **axis))
    return points + base.mark_rule().encode(alt.Y("min:Q", **axis), alt.Y2("max:Q"))


def sensitivity_picture(runs: pd.DataFrame) -> alt.HConcatChart:
    """Return accuracy over the skew, and over the number of clients."""
    here = runs[runs.method.isin(COMPARED)]
    skew, clients = (here[here[a] == DEFAULTS[a]] for a in ("clients", "alpha"))
    charts = (
        spread(
            *(skew, "early_accuracy", "test accuracy, rounds 3 to 5"),
            x="alpha",
            colour="method",
        ).properties(title="Dirichlet alpha (20 clients)"),
        spread(
            *(clients, "early_accuracy", "test accuracy, rounds 3 to 5"),
            x="clients",
            colour="method",
        ).properties(title="number of clients (alpha 0.1)"),
    )
    return alt.hconcat(*charts)


def identical_picture(merges: pd.DataFrame) -> alt.FacetChart:
    """Return accuracy less that of the exact merge over the error, means over seeds."""
    keys = ["setting", "round_id", "method"]
    means = (
        below_oracle(merges).groupby(keys, sort=False)[["mean_error", "gain"]].mean()
    )
    return (
        alt.Chart(means.round(4).reset_index(), width=170, height=170)
        .mark_point(filled=True, size=30)
        .encode(
            alt.X("mean_error:Q", title="merge error"),
            alt.Y("gain:Q", title="accuracy less the exact merge's"),
            alt.Color("method:N", sort=None),
            alt.Shape("round_id:O", title="round"),
            alt.Facet("setting:N", columns=3, sort=None, title=None),
        )
        .resolve_scale(x="independent")
    )


def shown(table: pd.DataFrame, keys: list[str], columns: list[str]) -> pd.DataFrame:
    """Return means and, in brackets, standard deviations over seeds."""
    groups = table.groupby(keys, sort=False)[columns]
    mean, deviation = groups.mean(), groups.std()
    return mean.map("{:.3f}".format) + deviation.map(" ({:.3f})".format)


def main() -> None:
    studies = Path(sys.argv[1])
    runs = pd.DataFrame([{**names, **ends(run)} for names, run in finished(studies)])
    check_traffic(runs)
    common = runs[runs.seed <= NUM_COMMON]
    runs.round(5).to_csv(HERE / "runs.csv", index=False)
    columns = [
        "accuracy",
        "late_accuracy",
        "own",
        "shared",
        "mean_error",
        "up_kilobytes",
        "down_kilobytes",
    ]
    print(shown(common, ["alpha", "clients", "method"], columns).to_string())
    found = divergences(studies)
    by = ["method", "round_id", "layer"]
    found.groupby(by).relative_error.agg(["mean", "min", "max"]).round(5).to_csv(
        HERE / "divergence.csv"
    )
    divergence_picture(found).save(HERE / "divergence.svg")
    gains = pd.concat([paired(common), paired(runs)]).drop_duplicates()
    gains.round(5).to_csv(HERE / "paired.csv", index=False)
    print(gains.round(3).to_string())
    local_picture(common).save(HERE / "local.svg")
    sensitivity_picture(common).save(HERE / "sensitivity.svg")
    if (HERE / "identical.csv").is_file():
        merges = pd.read_csv(HERE / "identical.csv")
        table = correlations(merges)
        table.round(4).to_csv(HERE / "correlation.csv", index=False)
        print(table.round(2).to_string())
        gains = gains_over_average(merges)
        gains.round(5).to_csv(HERE / "same-uploads.csv")
        print(gains.round(3).to_string())
        identical_picture(merges).save(HERE / "identical.svg")


if __name__ == "__main__":
    main()

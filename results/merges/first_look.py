"""A first look at merges on digits: divergence, local against global, sensitivity.

pip install 'netsim-fl[report]'
python results/merges/first_look.py                 # all runs, some 12 minutes of CPU
python results/merges/first_look.py --seeds 1       # a third of them

A finished run in results/runs/merges is not run again. Writes final.csv, divergence.csv
and local.csv beside this file, and three pictures of them.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import altair as alt
import pandas as pd

import netsim
from netsim.errors import InputError

HERE = Path(__file__).parent
RUNS = Path("results") / "runs" / "merges"
METHODS = (
    "fedit",
    "flora-na",
    "thin-svd",
    "fedex-lora",
    "full-average",
    "ffa-lora",
    "fedsa-lora",
)
ALPHAS = (0.1, 0.5, 5.0)
EVERYWHERE = ("fedit", "flora-na", "thin-svd", "full-average")  # at each alpha
COMPARED = ("fedit", "flora-na", "thin-svd")  # those that miss the ideal merge


def finished(method: str, alpha: float, seed: int) -> netsim.runs.Run:
    """Return a run, made now or earlier."""
    folder = RUNS / f"{method}-{alpha}-{seed}"
    try:
        run = netsim.load_run(folder)
        if run.manifest.status == "complete":
            return run
    except InputError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    start_s = time.process_time()
    run = netsim.run(
        HERE / "first-look.yaml",
        f"seed={seed}",
        f"learning.aggregation={method}",
        f"learning.partition.alpha={alpha}",
        out=folder,
    )
    took_s = time.process_time() - start_s
    print(f"{method}, alpha {alpha}, seed {seed}: {took_s:.0f} CPU s", flush=True)
    return run


def final(run: netsim.runs.Run) -> dict[str, float]:
    """Return what a run ends with, and what it sent."""
    last = run.evals[run.evals.client_id.isna()].iloc[-1]
    tasks = run.tasks
    return {
        "accuracy": last.accuracy,
        "loss": last.loss,
        "mean_relative_error": run.merges.relative_error.mean(),
        "upload_megabytes": tasks.upload_bits.sum() / 8e6,
        "download_megabytes": tasks.download_bits.sum() / 8e6,
    }


def tables(seeds: list[int]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return ends, divergences and local gaps of all runs."""
    ends, divergences, gaps = [], [], []
    for alpha in ALPHAS:
        for method in METHODS if alpha == ALPHAS[0] else EVERYWHERE:
            for seed in seeds:
                run = finished(method, alpha, seed)
                names = {"method": method, "alpha": alpha, "seed": seed}
                ends.append({**names, **final(run)})
                gaps.append(run.local_gap().assign(**names))
                divergences.append(run.merges.assign(**names))
    return pd.DataFrame(ends), pd.concat(divergences), pd.concat(gaps)


def divergence_picture(divergences: pd.DataFrame) -> alt.HConcatChart:
    """Return the merge error over rounds and over layers, at the strongest skew."""
    shown = divergences[
        divergences.method.isin(COMPARED) & (divergences.alpha == ALPHAS[0])
    ]
    rounds = shown.groupby(["method", "seed", "round_id"], observed=True)
    by_round = rounds.relative_error.mean().reset_index()
    layers = shown.groupby(["method", "layer"], observed=True)
    by_layer = layers.relative_error.mean().reset_index()
    by_layer["layer"] = by_layer.layer.astype(str).str.removeprefix("vit.layers.")
    error = alt.Y("relative_error", title="error relative to the ideal merge")
    base = alt.Chart(by_round, width=320, height=220)
    line = base.mark_line().encode(
        alt.X("round_id", title="round"),
        alt.Y("mean(relative_error)"),
        alt.Color("method"),
    )
    band = base.mark_area(opacity=0.2).encode(
        alt.X("round_id"),
        alt.Y("min(relative_error)", title="error relative to the ideal merge"),
        alt.Y2("max(relative_error)"),
        alt.Color("method"),
    )
    bars = (
        alt.Chart(by_layer, width=320, height=220)
        .mark_bar()
        .encode(
            alt.X("layer", title="adapted matrix", axis=alt.Axis(labelAngle=-40)),
            error,
            alt.XOffset("method"),
            alt.Color("method"),
        )
    )
    return band + line | bars


def local_picture(gaps: pd.DataFrame) -> alt.Chart:
    """Return own against global accuracy on clients' own labels, at the end."""
    last = gaps[(gaps.round_id == gaps.round_id.max()) & (gaps.alpha == ALPHAS[0])]
    long = last.melt(
        id_vars=["method", "seed"],
        value_vars=["accuracy_personal", "accuracy_global"],
        var_name="adapter",
        value_name="accuracy",
    )
    names = {"accuracy_personal": "own", "accuracy_global": "global"}
    long["adapter"] = long.adapter.map(names)
    base = alt.Chart(long, width=480, height=220)
    bars = base.mark_bar().encode(
        alt.X("method", title=None, axis=alt.Axis(labelAngle=0)),
        alt.Y("mean(accuracy)", title="accuracy on the clients' own labels"),
        alt.XOffset("adapter"),
        alt.Color("adapter", title="adapter"),
    )
    spread = base.mark_rule(color="black").encode(
        alt.X("method"),
        alt.Y("min(accuracy)", title="accuracy on the clients' own labels"),
        alt.Y2("max(accuracy)"),
        alt.XOffset("adapter"),
    )
    return bars + spread


def alpha_picture(ends: pd.DataFrame) -> alt.LayerChart:
    """Return the final accuracy over the skew."""
    base = alt.Chart(ends, width=480, height=240).encode(
        alt.X("alpha:O", title="Dirichlet alpha (left: strongest skew)"),
        alt.XOffset("method"),
        alt.Color("method"),
    )
    title = "test accuracy after 10 rounds"
    scale = alt.Scale(zero=False)
    points = base.mark_point(filled=True, size=60).encode(
        alt.Y("mean(accuracy)", title=title, scale=scale)
    )
    spread = base.mark_rule().encode(
        alt.Y("min(accuracy)", title=title, scale=scale), alt.Y2("max(accuracy)")
    )
    return points + spread


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    ends, divergences, gaps = tables(parser.parse_args().seeds)
    ends.round(5).to_csv(HERE / "final.csv", index=False)
    layers = divergences.groupby(["alpha", "method", "layer"], observed=True)
    layers.relative_error.mean().round(6).to_csv(HERE / "divergence.csv")
    gaps.round(5).to_csv(HERE / "local.csv", index=False)
    divergence_picture(divergences).save(HERE / "divergence.svg")
    local_picture(gaps).save(HERE / "local.svg")
    alpha_picture(ends).save(HERE / "alpha.svg")
    shown = ends.groupby(["alpha", "method"]).agg(
        accuracy=("accuracy", "mean"),
        spread=("accuracy", lambda a: a.max() - a.min()),
        merge_error=("mean_relative_error", "mean"),
        up_mb=("upload_megabytes", "mean"),
        down_mb=("download_megabytes", "mean"),
    )
    print(shown.round(4).to_string())


if __name__ == "__main__":
    main()

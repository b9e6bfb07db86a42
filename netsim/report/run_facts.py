"""The answer of a run in a sentence, and its main figures."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
from pydantic import ValidationError

from fl.contract import FALLING_METRICS
from netsim.devices.fitting import COVERAGE
from netsim.learner.stop import Target
from netsim.report import words
from netsim.report.page import Fact
from netsim.runs import questions
from netsim.runs.run import Run, scenario_part
from netsim.study.order import range_s
from netsim.study.outcomes import ENERGIES, outcomes
from netsim.study.what_if import draws_of

WHY_UNFINISHED = {
    "running": "still running, or was killed",
    "interrupted": "interrupted",
    "failed": "stopped by an error",
}


def warnings(run: Run) -> list[str]:
    """Return warnings about the run."""
    found = []
    status = run.manifest.status
    if status != "complete":
        found.append(
            f"This run is unfinished: it is {WHY_UNFINISHED[status]}. What is shown "
            "was on disk by then; the tables end at different moments."
        )
    models = run.manifest.timing_model
    if models and models["time"] != models["accuracy"]:
        found.append(
            f"There are two models: times are those of {models['time']}, the "
            f"accuracy is that of {models['accuracy']}."
        )
    if run.manifest.seconds:
        found.append(f"Seconds of local training are {run.manifest.seconds}.")
    if run.manifest.joules:
        found.append(f"Joules of local training are {run.manifest.joules}.")
    found += _ranges(run)
    return found


def _ranges(run: Run) -> Iterator[str]:
    """Yield what `--range` found of the time to the target, or to the end."""
    target = target_of(run)
    named = () if target is None else (target,)
    for end in outcomes(run, named) if run.manifest.status == "complete" else ():
        drawn = draws_of(run.folder, end.target, end.time_ns)
        if drawn:
            low, high = map(words.duration, range_s([*drawn.values()]))
            yield (
                f"By the errors of its devices, {COVERAGE:.0%} of the times to "
                f"{end.target} lie within {low} to {high}."
            )


def main_metric(run: Run) -> str:
    """Return the metric of the stop target, else accuracy, else loss; empty without any
    evaluation."""
    evals = run.global_evals()
    target = target_of(run)
    names = [target.metric] if target else []
    for name in (*names, "accuracy", "loss"):
        if not evals.empty and name in evals and evals[name].notna().any():
            return name
    return ""


def target_of(run: Run) -> Target | None:
    """Return the target at which the run stops, if it has one."""
    found = scenario_part(run.folder, "stop").get("target")
    try:
        return None if found is None else Target.model_validate(found)
    except ValidationError:
        return None


def headline(run: Run) -> list[str]:
    """Return the run's result in one or two sentences."""
    end = words.duration(end_s(run))
    num_rounds = words.counted(len(run.rounds), "round")
    metric = main_metric(run)
    if not metric:
        return [f"{num_rounds} in {end} of simulated time."]
    target = target_of(run)
    if target is None:
        return [_best(run, metric), f"It ran for {num_rounds}, {end}."]
    return [_met(run, target, end), _best(run, metric)]


def facts(run: Run) -> list[Fact]:
    """Return the main figures of a run."""
    found = [Fact(words.duration(end_s(run)), "simulated time", _pilots(run))]
    tasks = run.tasks
    num_merged = int(tasks["merged_round_id"].notna().sum())
    note = f"{num_merged:,} of {words.counted(len(tasks), 'update')} merged"
    found.append(Fact(f"{len(run.rounds):,}", "rounds", note))
    found += _final(run)
    found += _used(run)
    return found


def end_s(run: Run) -> float:
    """Return the end of the run, or of its last row on disk if it is incomplete."""
    ends_ns = [
        run.table(name)["end_ns"].max()
        for name in ("rounds", "tasks", "transfers", "bands")
        if not run.table(name).empty
    ]
    recorded_ns = max([0, *map(int, ends_ns)])
    if run.manifest.status == "complete":
        recorded_ns = run.manifest.sim_time_ns
    return recorded_ns / 1e9


def _met(run: Run, target: Target, end: str) -> str:
    moment = run.time_to(
        target.metric, target.level, over=target.over, split=target.split
    )
    words_ = f"{words.metric_words(target.metric).capitalize()} {target.level:g}"
    if target.split != "test":
        words_ += f" on the {target.split} split"
    if target.over > 1:
        words_ += f" in the mean of {target.over} evaluations"
    if isinstance(moment, pd.Timedelta):
        found = f"{words_} was reached after {words.duration(moment.total_seconds())}."
        return found + ("" if target.split == "test" else _on_test(run, moment.value))
    return f"{words_} was not reached in {end}."


def _on_test(run: Run, time_ns: int) -> str:
    """Return the accuracy on the test split at a time, in words."""
    evals = run.global_evals()
    value = evals[evals["time_ns"] <= time_ns]["accuracy"].iloc[-1]
    return f" Accuracy on the test split was {value:.3g} then."


def _best(run: Run, metric: str) -> str:
    evals = run.global_evals()
    is_falling = metric in FALLING_METRICS
    values = evals[metric]
    best = evals[values == (values.min() if is_falling else values.max())].iloc[0]
    when = words.duration(float(best["time_ns"]) / 1e9)
    name = words.metric_words(metric)
    value = f"{best[metric]:.3g}"
    return f"The best {name} was {value}, after {when} (round {best['round_id']})."


def _final(run: Run) -> Iterator[Fact]:
    evals = run.global_evals()
    for metric in ("accuracy", "exact_match", "perplexity", "loss"):
        values = evals[metric].dropna()
        if not values.empty and math.isfinite(values.iloc[-1]):
            first = f"{values.iloc[0]:.3g} at the start"
            name = words.metric_words(metric)
            yield Fact(f"{values.iloc[-1]:.3g}", f"{name} at the end", first)
            if metric == "accuracy":
                return


def _used(run: Run) -> Iterator[Fact]:
    bits = questions.bits(run)
    for direction, name in (("up", "sent up"), ("down", "sent down")):
        row = bits[bits.index == direction].sum()
        note = words.counted(int(row["num_transfers"]), "message")
        if row["cut_bits"]:
            note += f"; {words.size(float(row['cut_bits']))} more were cut"
        yield Fact(words.size(float(row["sent_bits"])), name, note)
    total_j = float(run.tasks[list(ENERGIES)].to_numpy().sum())
    per_task = words.joules(total_j / max(1, len(run.tasks)))
    yield Fact(words.joules(total_j), "used by devices", f"{per_task} per update")


def _pilots(run: Run) -> str:
    pilot_ns = run.manifest.pilot_time_ns
    return f"{words.duration(pilot_ns / 1e9)} of it pilots" if pilot_ns else ""

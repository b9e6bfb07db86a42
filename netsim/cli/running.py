"""``netsim run``: a run with its live view, and the table at its end."""

from __future__ import annotations

import json as json_format
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from fl.contract import LayerError
from netsim.cli.live import LiveView
from netsim.cli.options import (
    AllowCodeOption,
    FreshOption,
    GpusOption,
    JsonLinesOption,
    JsonOption,
    OutOption,
    QuietOption,
    RangeOption,
    RayOption,
    ScenarioArg,
    SeedOption,
    SetOption,
    WithBaseOption,
    WorkersOption,
    overrides,
    user_code,
)
from netsim.cli.spectators import JsonLines, Spectator, all_of, tensorboard_curves
from netsim.core.quantities import format_duration_ns
from netsim.cosim.extend import scenario_path
from netsim.cosim.reading import read_scenario
from netsim.cosim.reuse import conclusion, verdicts
from netsim.cosim.run import claim_folder, extended, run_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.cosim.workers import ALONE, Workers
from netsim.errors import InputError, Interrupted
from netsim.runs.manifest import SCENARIO_FILE, Manifest
from netsim.scenario import UserCode
from netsim.server.stage import Progress

if TYPE_CHECKING:
    from netsim.runs.answer import Answer

MAX_TABLE_ROWS = 30
ERROR_NOTE = (
    "error: how far the merged layers are from the ideal sum of products, relative to\n"
    "it, on average over layers; average's: plain factor averaging, same updates"
)

DIVERGENCE_NOTE = (
    "{} updates were not finite and left out (tasks with status diverged): lower\n"
    "learning.training.learning_rate or set learning.training.max_grad_norm"
)


def run(
    scenario: ScenarioArg,
    set_: SetOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Go on with the run in the folder: an unfinished one, or one whose "
            "scenario differs in `stop` only."
        ),
    ] = False,
    fresh: FreshOption = False,
    workers: WorkersOption = None,
    ray: RayOption = None,
    gpus: GpusOption = 0.0,
    with_base: WithBaseOption = False,
    with_range: RangeOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    json_lines: JsonLinesOption = False,
    allow_code: AllowCodeOption = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write curves for TensorBoard there."),
    ] = None,
) -> None:
    """Run a scenario and write its trace."""
    code = user_code(allow_code)
    path = find_scenario(scenario)
    config = read_scenario(path, overrides(set_, seed), code)
    who = Workers(workers, ray, gpus)
    if ray is not None and "trains-nothing" in config.learning.traits:
        raise InputError("--ray: this scenario trains nothing that could be spread")
    before = extended(config, out, code) if resume and out is not None else None
    with ExitStack() as stack:
        spectators: list[Spectator] = [JsonLines(sys.stdout)] if json_lines else []
        if tensorboard is not None:
            curves = tensorboard_curves(tensorboard)
            spectators.append(stack.enter_context(curves))
        run_and_show(
            config,
            out,
            resume=resume,
            fresh=fresh,
            workers=who,
            with_base=with_base,
            quiet=quiet,
            json=json or json_lines,
            is_bare=json_lines,
            before=before,
            spectators=spectators,
            then=partial(_show_range, config, path.parent, code)
            if with_range
            else None,
        )


def _show_range(
    scenario: Scenario, base_folder: Path, code: UserCode, folder: Path
) -> None:
    from netsim.cli.asking import show_range_of_run  # brings pandas

    show_range_of_run(scenario, base_folder, code, folder)


def run_and_show(
    scenario: Scenario,
    out: Path | None,
    *,
    resume: bool = False,
    fresh: bool = False,
    workers: Workers = ALONE,
    with_base: bool = False,
    quiet: bool = False,
    json: bool = False,
    is_bare: bool = False,
    before: Scenario | None = None,
    spectators: Sequence[Spectator] = (),
    then: Callable[[Path], None] | None = None,
) -> Manifest:
    """Run, show progress on stderr and results on stdout; return the manifest.

    Where it changes a recorded scenario, ``before``, say first what needs new training;
    ``fresh`` trains all. With ``is_bare`` stdout gets no table. ``then`` is called with
    the folder of the finished run.
    """
    console = Console(stderr=True)
    if before is not None and not quiet and not fresh:
        print_verdicts(console, before, scenario)
    folder = out if out is not None else claim_folder(scenario)
    view = LiveView(console, scenario.stop, scenario.name, is_quiet=quiet)
    with _guided(console, scenario, folder, is_claimed=out is None), view:
        manifest = run_scenario(
            scenario,
            folder,
            command=("netsim", *sys.argv[1:]),
            resume=resume,
            reuse=not fresh,
            workers=workers,
            with_base=with_base,
            watch=all_of([view, *spectators]),
        )
    found = _answer(scenario, manifest, folder)
    if not quiet and not is_bare:
        show(Console(), manifest, folder, view.seen)
        show_answer(Console(), scenario, found, folder)
    if then is not None:
        then(folder)
    if json:
        told = summary(manifest, folder) | _told(scenario, found, folder)
        print(json_format.dumps(told))
    return manifest


@contextmanager
def _guided(
    console: Console, scenario: Scenario, folder: Path, *, is_claimed: bool
) -> Iterator[None]:
    """Say how to continue an interrupted run; remove a claimed folder that is empty."""
    try:
        yield
    except KeyboardInterrupt as error:
        path = scenario_path(folder, scenario)
        how = f"go on with: netsim run {path} --out {folder} --resume"
        if not path.is_file():
            how = "the same command with --resume starts it"
        console.print(f"interrupted; {how}", soft_wrap=True)
        raise Interrupted from error
    except InputError:
        if is_claimed and not any(folder.iterdir()):
            folder.rmdir()
        raise


def print_verdicts(console: Console, before: Scenario, scenario: Scenario) -> None:
    """Print which changes need new training, and which do not."""
    found = verdicts(before, scenario)
    for verdict in found:
        console.print(str(verdict), highlight=False, soft_wrap=True)
    if found:
        console.print(conclusion(found), highlight=False, soft_wrap=True)


def summary(manifest: Manifest, folder: Path) -> dict[str, object]:
    """Return what ``--json`` prints."""
    return {
        "run": str(folder),
        "digest": manifest.digest,
        "network_digest": manifest.network_digest,
        "status": manifest.status,
        "rounds": manifest.rounds,
        "sim_time_ns": manifest.sim_time_ns,
        "seconds": manifest.seconds,
        "joules": manifest.joules,
        "pilot_time_ns": manifest.pilot_time_ns,
        "steps_trained": manifest.steps_trained,
        "steps_reused": manifest.steps_reused,
        "final": manifest.final,
    }


def _answer(scenario: Scenario, manifest: Manifest, folder: Path) -> Answer | None:
    """Return the answer of a run; None of one that nothing scores."""
    if not manifest.final and scenario.stop.target is None:
        return None
    from netsim.runs.answer import answer

    return answer(folder, scenario.stop.target)


def show_answer(
    console: Console, scenario: Scenario, found: Answer | None, folder: Path
) -> None:
    """Print whether the target was met, the best level, and the next command."""
    lines = [] if found is None else [str(found)]
    for line in [*lines, f"next   {next_command(scenario, found, folder)}"]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def next_command(scenario: Scenario, found: Answer | None, folder: Path) -> str:
    """Return a command to go on with: twice as long where a target was not met, else
    the report."""
    place, stop = shlex.quote(str(folder)), scenario.stop
    is_short = found is not None and found.target is not None and found.met is None
    if not is_short or "is-an-app" in scenario.learning.traits:
        return f"netsim report {place}"
    longer = [] if stop.rounds is None else [f"--set stop.rounds={2 * stop.rounds}"]
    if stop.time_s is not None:
        longer.append(f"--set 'stop.time={2 * stop.time_s:.12g} s'")
    file = shlex.quote(str(folder / SCENARIO_FILE))
    return f"netsim run {file} --out {place} --resume {' '.join(longer)}"


def _told(scenario: Scenario, found: Answer | None, folder: Path) -> dict[str, object]:
    """Return what ``--json`` prints of the answer: null for what there is not."""
    target = None if found is None else found.target
    return {
        "target": None if target is None else target.title,
        "met": None if found is None or found.met is None else asdict(found.met),
        "best": None if found is None or found.best is None else asdict(found.best),
        "next": next_command(scenario, found, folder),
    }


def show(
    console: Console, manifest: Manifest, folder: Path, seen: Sequence[Progress]
) -> None:
    """Print the table of rounds, the outcome and where the run is."""
    if seen:
        console.print(round_table(seen))
    if any(progress.layers for progress in seen):
        console.print(ERROR_NOTE, highlight=False)
    outcome = [
        f"{manifest.rounds} rounds",
        f"{format_duration_ns(manifest.sim_time_ns)} simulated",
        *_steps(manifest),
        *(f"{name} {value:.4g}" for name, value in manifest.final.items() if value),
    ]
    console.print(" · ".join(outcome), highlight=False)
    for line in _policy_lines(manifest):
        console.print(line, highlight=False, soft_wrap=True)
    num_diverged = sum(progress.num_diverged for progress in seen)
    if num_diverged:
        console.print(DIVERGENCE_NOTE.format(num_diverged), highlight=False)
    _show_timing_model(console, manifest.timing_model)
    console.print(f"digest {manifest.digest[:16]}", highlight=False)
    for name in ("seconds", "joules"):
        if rest := getattr(manifest, name):
            console.print(f"{name:<7} {rest}", highlight=False, soft_wrap=True)
    console.print(f"run    {folder}", highlight=False, soft_wrap=True)


def _policy_lines(manifest: Manifest) -> list[str]:
    """Return what pilots took, and what the first plan promised."""
    lines, predicted = [], manifest.predicted
    if manifest.pilot_rounds:
        took = format_duration_ns(manifest.pilot_time_ns)
        lines.append(f"pilots took {manifest.pilot_rounds} of the rounds, {took}")
    if predicted and "rounds" not in predicted:
        error_s = predicted.get("round_error_s")
        error = "" if error_s is None else f" ± {error_s:.1g} s"
        lines.append(
            f"the first plan promised {predicted['round_s']:.4g} s a round{error}"
        )
    elif predicted:
        spread_s = predicted.get("time_error_s")
        error = "" if spread_s is None else f" ± {spread_s:.1g} s"
        loss = f" to loss {predicted['loss']:.4g}" if "loss" in predicted else ""
        lines.append(
            f"the first plan promised {predicted['rounds']:.4g} rounds{loss}, "
            f"{predicted['time_s']:.4g} s{error}"
        )
    known = {n: one for n, one in manifest.constants.items() if n != "step"}
    if known:
        found = ", ".join(
            f"{name}: {value:.3g}" for name, value in sorted(known.items())
        )
        lines.append(
            f"the policy measured last: `constants: {{{found}}}`; under `policy` they "
            "start the next run"
        )
    return lines


def _show_timing_model(console: Console, models: Mapping[str, str]) -> None:
    """Say so where one model gave the time and another the accuracy."""
    if models and models["time"] != models["accuracy"]:
        for what in ("time", "accuracy"):
            line = f"{what} is that of {models[what]}"
            console.print(line, highlight=False, soft_wrap=True)


def _steps(manifest: Manifest) -> list[str]:
    if not manifest.steps_trained + manifest.steps_reused:
        return []
    return [f"{manifest.steps_trained} steps trained, {manifest.steps_reused} reused"]


def round_table(seen: Sequence[Progress]) -> Table:
    """Return the rounds as a table, thinned out evenly when they are many."""
    has_scores = any(progress.scores for progress in seen)
    table = Table(box=box.SIMPLE_HEAD)
    headings = ["round", "simulated", "clients"]
    if has_scores:
        method = next((p.layers[0].method for p in seen if p.layers), "merge")
        headings += ["accuracy", "loss", f"{method}\nerror", "average's"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for progress in _thinned(seen):
        table.add_row(*_cells(progress, has_scores))
    return table


def _thinned(seen: Sequence[Progress]) -> list[Progress]:
    """Return at most ``MAX_TABLE_ROWS``; if all are more, of the evaluated ones."""
    if len(seen) > MAX_TABLE_ROWS:
        seen = [progress for progress in seen if progress.scores] or seen
    stride = -(-len(seen) // MAX_TABLE_ROWS)
    return [p for n, p in enumerate(seen) if n % stride == 0 or n == len(seen) - 1]


def _cells(progress: Progress, has_scores: bool) -> list[str]:
    cells = [
        f"pilot {progress.round_id}"
        if progress.phase.is_pilot
        else str(progress.round_id),
        format_duration_ns(progress.now_ns),
        f"{progress.num_merged}/{progress.num_sampled}" if progress.round_id else "",
    ]
    if not has_scores:
        return cells
    scores = [score for score in progress.scores if score.client_id is None]
    cells += (
        [f"{scores[0].accuracy:.3f}", f"{scores[0].loss:.3f}"] if scores else ["", ""]
    )
    return cells + _mean_errors(progress.layers)


def _mean_errors(layers: Sequence[LayerError]) -> list[str]:
    """Return the layers' mean relative error, the method's and plain averaging's."""
    if not layers:
        return ["", ""]
    own = sum(layer.relative_error for layer in layers) / len(layers)
    plain = sum(layer.average_relative_error for layer in layers) / len(layers)
    return [f"{own:.4f}", f"{plain:.4f}"]

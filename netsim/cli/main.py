"""The entry point: commands, exit codes, and what a user sees of an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from netsim.cli.interrupts import interruptible
from netsim.cli.options import (
    AtOnceOption,
    DryRunOption,
    FreshOption,
    GpusOption,
    JsonLinesOption,
    JsonOption,
    OutOption,
    QuietOption,
    RayOption,
    RunArg,
    ScenarioArg,
    SeedOption,
    SetOption,
    WorkersOption,
)
from netsim.core.version import VERSION
from netsim.errors import InputError, Interrupted

DONE, CHECK_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def netsim(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Simulate federated LoRA fine-tuning over wireless networks.

    Learning is real, the network is simulated on an exact clock, and every run leaves
    a trace in Parquet.
    """


@app.command()
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
    workers: WorkersOption = 1,
    quiet: QuietOption = False,
    json: JsonOption = False,
    json_lines: JsonLinesOption = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write curves for TensorBoard there."),
    ] = None,
) -> None:
    """Run a scenario and write its trace."""
    from netsim.cli.running import run_command

    run_command(
        scenario,
        _overrides(set_, seed),
        out,
        resume=resume,
        fresh=fresh,
        workers=workers,
        quiet=quiet,
        json=json,
        json_lines=json_lines,
        board=tensorboard,
    )


@app.command()
def check(
    scenario: ScenarioArg,
    set_: SetOption = None,
    seed: SeedOption = None,
    count: Annotated[
        bool, typer.Option(help="Count bits and FLOP on the real model (loads torch).")
    ] = False,
    partition: Annotated[
        Path | None,
        typer.Option(help="A folder for who holds which labels: Parquet and SVG."),
    ] = None,
) -> None:
    """Validate a scenario; print it with every default, and what it costs."""
    from netsim.cli.checking import check_command

    overrides = _overrides(set_, seed)
    check_command(scenario, overrides, count=count, partition=partition)


@app.command()
def plan(
    scenario: ScenarioArg,
    set_: SetOption = None,
    seed: SeedOption = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the plan.")] = None,
    ratio: Annotated[
        float | None, typer.Option(help="beta / alpha of rounds = beta + alpha V.")
    ] = None,
    nu: Annotated[
        float | None, typer.Option(help="Variance grows as (r / k) to this; 1 if none.")
    ] = None,
    max_weight: Annotated[
        float | None, typer.Option(help="The most that a_n / q_n may be.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Choose who takes part how often and at what rank, without training."""
    from netsim.cli.planning import plan_command
    from netsim.cosim.plan_problem import Assumptions

    assumed = Assumptions(ratio=ratio, nu=nu, max_weight=max_weight)
    plan_command(scenario, _overrides(set_, seed), out, assumed, json=json)


@app.command()
def replay(
    run: RunArg,
    set_: SetOption = None,
    out: OutOption = None,
    fresh: FreshOption = False,
    workers: WorkersOption = 1,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Run a run's scenario again; without --set the digest must come out the same.

    With --set it says first which changes train anew.
    """
    from netsim.cli.replaying import replay_command

    replay_command(
        run,
        tuple(set_ or ()),
        out,
        fresh=fresh,
        workers=workers,
        quiet=quiet,
        json=json,
    )


@app.command()
def merge(
    adapters: Annotated[
        list[Path], typer.Argument(help="Adapter folders that PEFT saved.")
    ],
    out: Annotated[Path, typer.Option(help="The new adapter folder.")],
    method: Annotated[
        str,
        typer.Option(help="Such as thin-svd or fedex-lora; a wrong name lists all."),
    ] = "flora-na",
    weights: Annotated[
        str | None,
        typer.Option(metavar="W,W,…", help="As 0.5,0.3,0.2 or 1/3,1/3,1/3; equal."),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(help="The adapter before the round; gets 1 less all weights."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="The method's own settings."),
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Merge PEFT adapter folders into one that PEFT loads."""
    from netsim.cli.merging import merge_command
    from netsim.cosim.commands.merge import Request

    request = Request(
        folders=tuple(adapters),
        out=out,
        method=method,
        overrides=tuple(set_ or ()),
        weights=weights,
        previous=previous,
    )
    merge_command(request, quiet=quiet, json=json)


@app.command(name="merge-study")
def merge_study(
    run: RunArg,
    rounds: Annotated[
        str | None, typer.Option(metavar="N,N-M,…", help="Only these rounds.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Only these methods.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; the run's host/ by default.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Evaluate every merged model.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Let every merge loose on the same client updates, those of a finished run."""
    from netsim.cli.merge_study import merge_study_command

    merge_study_command(
        run, rounds, methods, out, evaluate=evaluate, quiet=quiet, json=json
    )


@app.command()
def study(
    study: Annotated[
        str, typer.Argument(help="A YAML file, or the name of a shipped study.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Override in all runs; axes come after."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="Instead of the study's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study folder itself.")] = None,
    workers: AtOnceOption = None,
    ray: RayOption = None,
    gpus: GpusOption = 0.0,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    json_lines: JsonLinesOption = False,
) -> None:
    """Run a study, many variants and seeds, or go on with it; say who is faster."""
    from netsim.cli.study import read_seeds, study_command
    from netsim.cosim.workers import Workers
    from netsim.study.plan import Instead

    who = Workers(workers, ray, gpus)
    instead = Instead(tuple(set_ or ()), read_seeds(seeds))
    if not study_command(
        study,
        out,
        instead,
        workers=who,
        dry_run=dry_run,
        quiet=quiet,
        json=json,
        json_lines=json_lines,
    ):
        raise typer.Exit(CHECK_FAILED)


@app.command()
def tune(
    search: Annotated[
        str, typer.Argument(help="A YAML file, or the name of a shipped search.")
    ],
    out: Annotated[Path | None, typer.Option(help="The search's folder.")] = None,
    workers: AtOnceOption = None,
    ray: RayOption = None,
    gpus: GpusOption = 0.0,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Search settings for the best within limits, or go on with it.

    Exit code 1: no trial keeps to all limits.
    """
    from netsim.cli.tuning import tune_command
    from netsim.cosim.workers import Workers

    who = Workers(workers, ray, gpus)
    if not tune_command(
        search, out, workers=who, dry_run=dry_run, quiet=quiet, json=json
    ):
        raise typer.Exit(CHECK_FAILED)


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="The folders of two runs or more.")
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=LEVEL", help="As accuracy=0.9; repeatable."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show runs side by side: times to targets, bits, energy, what differs."""
    from netsim.cli.comparing import compare_command

    compare_command(tuple(runs), tuple(target or ()), json=json)


@app.command()
def verify(run: RunArg, json: JsonOption = False) -> None:
    """Audit a run: files, digests, and the physics of every transfer."""
    from netsim.cli.checking import verify_command

    if not verify_command(run, json=json):
        raise typer.Exit(CHECK_FAILED)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_OR_STUDY", help="The folder of either.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file; report.html in the folder.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every chart there too, as SVG."),
    ] = None,
) -> None:
    """Write a run or a study as one page for a browser: what happened, and why."""
    from netsim.cli.reporting import report_command

    report_command(folder, out, pictures)


@app.command()
def timeline(
    run: RunArg,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file, compressed if it ends in .gz; the run's "
            "timeline.json.gz by default."
        ),
    ] = None,
) -> None:
    """Write a run as a picture for Perfetto or Chrome: who did what, and when."""
    from netsim.cli.timeline import timeline_command

    timeline_command(run, out)


@app.command()
def calibrate(
    scenario: ScenarioArg,
    out: Annotated[Path, typer.Option(help="The device's file, such as my-host.yaml.")],
    set_: SetOption = None,
    name: Annotated[
        str | None, typer.Option(help="The device's name; the file's by default.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch; as many as it takes by itself.")
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Participations to time; the median counts.")
    ] = 5,
    peak: Annotated[
        str | None,
        typer.Option(
            metavar="SPEED", help="As '1 TFLOP/s'; measured on matrix products."
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="As '8 GB'; this host's own.")
    ] = None,
    compute_power: Annotated[
        str | None, typer.Option(metavar="POWER", help="While it trains, as '12 W'.")
    ] = None,
    idle_power: Annotated[
        str | None, typer.Option(metavar="POWER", help="While it waits, as '3 W'.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Time this host's training once and write it as a device for scenarios."""
    from netsim.cli.calibrating import calibrate_command, quantity
    from netsim.cosim.commands.calibrate import Request

    memory_bytes = quantity("--memory", memory, "B")
    request = Request(
        out=out,
        name=name,
        threads=threads,
        trials=trials,
        peak_flop_per_s=quantity("--peak", peak, "FLOP/s"),
        memory_bytes=None if memory_bytes is None else int(memory_bytes),
        compute_power_w=quantity("--compute-power", compute_power, "W"),
        idle_power_w=quantity("--idle-power", idle_power, "W"),
    )
    calibrate_command(scenario, _overrides(set_, None), request, json=json)


@app.command()
def schema(
    study: Annotated[bool, typer.Option("--study", help="Of a study file.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Of a tune file.")] = False,
) -> None:
    """Print the JSON Schema of a scenario, for editors."""
    from netsim.cli.listing import schema_text, study_schema_text, tune_schema_text

    if study and tune:
        raise InputError("schema: --study or --tune, not both")
    text = study_schema_text if study else tune_schema_text if tune else schema_text
    typer.echo(text(), nl=False)


@app.command(name="list")
def list_() -> None:
    """List every choice that a scenario has: one line each."""
    from netsim.cli.listing import list_command

    list_command()


@app.command()
def store(
    limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Prune to this size, as '1 GB'.")
    ] = None,
    clear: Annotated[bool, typer.Option(help="Forget everything.")] = False,
) -> None:
    """Show what finished learning is remembered, and prune it."""
    from netsim.cli.storing import store_command

    store_command("0 B" if clear else limit)


def _overrides(given: list[str] | None, seed: int | None) -> tuple[str, ...]:
    return (*(given or ()), *(() if seed is None else (f"seed={seed}",)))


def main() -> None:
    """Run the command line and exit with its code."""
    for name, value in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ):
        os.environ.setdefault(name, value)
    try:
        with interruptible():
            app()
    except InputError as error:
        typer.echo(str(error), err=True)
        sys.exit(WRONG_INPUT)
    except KeyboardInterrupt as error:
        if not isinstance(error, Interrupted):
            typer.echo("interrupted; the same command does it again", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except OSError as error:
        known = error.filename is not None and error.strerror is not None
        said = f"{error.filename}: {error.strerror}" if known else str(error)
        typer.echo(said, err=True)
        sys.exit(WRONG_INPUT)
    except MemoryError:
        typer.echo("this needs more memory than there is", err=True)
        sys.exit(WRONG_INPUT)

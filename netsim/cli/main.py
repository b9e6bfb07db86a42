"""The entry point: commands, exit codes, and what a user sees of an error."""

from __future__ import annotations

import ast
import os
import sys
from importlib import import_module
from importlib.resources import files
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from netsim.cli.encodings import write_anywhere
from netsim.cli.interrupts import interruptible
from netsim.cli.options import INTERRUPTED, WRONG_INPUT
from netsim.cli.pipes import outlast_the_reader
from netsim.core.version import VERSION
from netsim.errors import InputError, Interrupted

# Each command is a function of its own module, which is imported when it is called.
COMMANDS = {
    "run": "running:run",
    "check": "checking:check",
    "plan": "planning:plan",
    "replay": "replaying:replay",
    "flower": "flower:flower",
    "merge": "merging:merge",
    "merge-study": "merge_study:merge_study",
    "study": "study:study",
    "tune": "tuning:tune",
    "compare": "comparing:compare",
    "verify": "checking:verify",
    "report": "reporting:report",
    "timeline": "timeline:timeline",
    "calibrate": "calibrating:calibrate",
    "validate": "validating:validate",
    "schema": "listing:schema",
    "list": "listing:list_choices",
    "explain": "listing:explain",
    "store": "storing:store",
}


class LazyCommand(TyperCommand):
    """A command whose function is imported when it is called."""

    def __init__(self, name: str, place: str) -> None:
        super().__init__(name)
        self.place = place

    def make_context(  # Any: of typer's own click, or of the package, by its version
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Import the command's module, and go on with the whole command."""
        module, _, function = self.place.partition(":")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(self.name)(getattr(import_module(f"netsim.cli.{module}"), function))
        whole = typer.main.get_command(app)
        return whole.make_context(info_name, args, parent, **extra)


class LazyCommands(TyperGroup):
    """The commands of the table, none of them imported yet."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, place in COMMANDS.items():
            self.add_command(LazyCommand(name, place))

    def format_help(self, *where: Any) -> None:  # Any: as above
        """Print the help, with what each command's docstring says first."""
        for name, place in COMMANDS.items():
            self.commands[name].help = summary(place)
        super().format_help(*where)


def summary(place: str) -> str:
    """Return the first paragraph of a command's docstring; imports nothing."""
    module, _, function = place.partition(":")
    source = files("netsim.cli").joinpath(f"{module}.py").read_text("utf-8")
    (found,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return (ast.get_docstring(found) or "").partition("\n\n")[0].replace("\n", " ")


app = typer.Typer(
    cls=LazyCommands,
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


def main() -> None:
    """Run the command line and exit with its code."""
    for name, value in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ):
        os.environ.setdefault(name, value)
    write_anywhere()
    outlast_the_reader()
    try:
        with interruptible():
            app()
    except InputError as error:
        _end(str(error), WRONG_INPUT)
    except KeyboardInterrupt as error:
        if not isinstance(error, Interrupted):
            typer.echo("interrupted; the same command does it again", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        _end(message, WRONG_INPUT)


def _message(error: Exception) -> str | None:
    """Return the message of an error for the user; None for a defect of ours."""
    from fl.failure import failure  # brings pydantic

    if (text := failure(error)) is not None:
        return text
    if isinstance(error, OSError):
        is_known = error.filename is not None and error.strerror is not None
        return f"{error.filename}: {error.strerror}" if is_known else str(error)
    if isinstance(error, MemoryError):
        return "this needs more memory than there is"
    return None


def _end(message: str, code: int) -> None:
    typer.echo(message, err=True)
    sys.exit(code)

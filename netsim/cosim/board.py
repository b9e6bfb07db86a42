"""What TensorBoard is told of a run under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fl.board import Board
from netsim.core.clock import to_s
from netsim.errors import InputError
from netsim.server.stage import Progress


@contextmanager
def tensorboard(
    folder: Path, scalars: Callable[[Progress], Mapping[str, float]]
) -> Iterator[Callable[[Progress], None]]:
    """Open a spectator that writes the scalars of every round into ``folder``."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--tensorboard {folder} is a file, not a folder")
    try:
        board = Board(folder)
    except ValueError as error:
        raise InputError(str(error)) from error

    def tell(progress: Progress) -> None:
        board.write(scalars(progress), progress.round_id, to_s(progress.now_ns))

    try:
        yield tell
    finally:
        board.close()

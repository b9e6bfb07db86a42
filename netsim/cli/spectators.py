"""Spectators of a run that are programs: lines of JSON, and TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from fl.contract import METRICS
from netsim.core.clock import to_s
from netsim.errors import InputError
from netsim.server.stage import Progress

Spectator = Callable[[Progress], None]
MS_PER_S = 1000


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Writes one line of JSON per event, without delay."""

    file: TextIO

    def __call__(self, progress: Progress) -> None:
        """Write the round that has ended."""
        self.write("round", round_event(progress))

    def write(self, event: str, fields: Mapping[str, object]) -> None:
        """Write one event; a number that is not finite is null."""
        shown = {"event": event, **{name: _plain(v) for name, v in fields.items()}}
        print(json.dumps(shown, allow_nan=False), file=self.file, flush=True)


def round_event(progress: Progress) -> dict[str, object]:
    """Return a round as plain values, with the global metrics if it was evaluated."""
    fields: dict[str, object] = {
        "round": progress.round_id,
        "phase": progress.phase.kind,
        "sim_time_ns": progress.now_ns,
        "num_sampled": progress.num_sampled,
        "num_merged": progress.num_merged,
    }
    fields |= global_metrics(progress)
    error = mean_error(progress)
    return fields if error is None else {**fields, "merge_error": error}


def global_metrics(progress: Progress) -> dict[str, float]:
    """Return the global adapter's metrics; none where no evaluation was due."""
    score = next((s for s in progress.scores if s.client_id is None), None)
    values = {name: getattr(score, name, None) for name in METRICS}
    return {name: float(value) for name, value in values.items() if value is not None}


def mean_error(progress: Progress) -> float | None:
    """Return the merged layers' mean relative error; None where nothing was merged."""
    errors = [layer.relative_error for layer in progress.layers]
    return sum(errors) / len(errors) if errors else None


def scalars(progress: Progress) -> dict[str, float]:
    """Return the numbers of a round that TensorBoard draws."""
    found = global_metrics(progress)
    error = mean_error(progress)
    if error is not None:
        found["merge_error"] = error
    if progress.round_id:
        found["num_sampled"] = progress.num_sampled
        found["num_merged"] = progress.num_merged
    return found


def all_of(spectators: Sequence[Spectator]) -> Spectator:
    """Return one spectator that calls several, in order."""

    def call(progress: Progress) -> None:
        for spectator in spectators:
            spectator(progress)

    return call


@contextmanager
def tensorboard_curves(folder: Path) -> Iterator[Spectator]:
    """Open a spectator that writes every scalar twice: under ``round/`` by round, and
    under ``time/`` by the milliseconds of simulated time. Points carry the simulated
    time as their wall time, so that TensorBoard's relative axis shows it too."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--tensorboard {folder} is a file, not a folder")
    try:
        from tensorboard.summary import Writer
    except ImportError as error:
        raise InputError(
            "scalars for TensorBoard need it installed: "
            "pip install -c constraints.txt -e '.[tensorboard]'"
        ) from error
    with closing(Writer(str(folder))) as writer:

        def write(progress: Progress) -> None:
            time_s = to_s(progress.now_ns)
            steps = {"round": progress.round_id, "time": round(time_s * MS_PER_S)}
            for name, value in scalars(progress).items():
                for tag, step in steps.items():
                    writer.add_scalar(f"{tag}/{name}", value, step, wall_time=time_s)

        yield write


def _plain(value: object) -> object:
    is_lost = isinstance(value, float) and not math.isfinite(value)
    return None if is_lost else value

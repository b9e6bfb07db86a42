"""Who watches a run beside the person at the terminal: other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from netsim.server.stage import Progress

Spectator = Callable[[Progress], None]
METRICS = ("accuracy", "loss", "perplexity", "exact_match")


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Writes a line of JSON, at once, whenever something has happened."""

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
    """Return the numbers of a round that are worth a curve."""
    found = global_metrics(progress)
    error = mean_error(progress)
    if error is not None:
        found["merge_error"] = error
    if progress.round_id:
        found["num_sampled"] = progress.num_sampled
        found["num_merged"] = progress.num_merged
    return found


def all_of(spectators: Sequence[Spectator]) -> Spectator:
    """Return one spectator that tells several, in order."""

    def tell(progress: Progress) -> None:
        for spectator in spectators:
            spectator(progress)

    return tell


def _plain(value: object) -> object:
    is_lost = isinstance(value, float) and not math.isfinite(value)
    return None if is_lost else value

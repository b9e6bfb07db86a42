"""What a Flower app leaves behind: arrays as a file, numbers of its answers."""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, RecordDict

ARRAYS = "arrays.safetensors"


def export(arrays: ArrayRecord, folder: Path) -> None:
    """Write arrays by their names."""
    from safetensors.numpy import save

    numbers = {name: array.numpy() for name, array in arrays.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARRAYS).write_bytes(save(numbers))


def num_examples(content: RecordDict, name: str) -> float | None:
    """Return the number of examples that an answer names, if it does; Flower's older
    interface writes names with ``_``."""
    for record in content.metric_records.values():
        value = record.get(name, record.get(name.replace("-", "_")))
        if isinstance(value, Real):
            return float(value)
    return None

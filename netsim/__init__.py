"""A discrete-event co-simulator of federated LoRA fine-tuning over wireless links."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from netsim.runs import Run

__all__ = ["load_run"]

__version__ = "0.1.0"


def load_run(path: str | Path) -> Run:
    """Return a run on disk, whose tables are pandas frames."""
    from netsim import runs  # here, so that `import netsim` needs no pandas

    return runs.load_run(path)

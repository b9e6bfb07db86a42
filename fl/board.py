"""Scalars for TensorBoard, through torch's own writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MS_PER_S = 1000


class Board:
    """Writes every scalar twice: under ``round/`` by round, and under ``time/`` by the
    milliseconds of simulated time. The clock of both is the simulated one, so that
    TensorBoard's relative axis shows it too."""

    def __init__(self, folder: Path) -> None:
        self._writer = _writer(folder)

    def write(self, scalars: Mapping[str, float], round_id: int, time_s: float) -> None:
        """Write what a round showed."""
        for name, value in scalars.items():
            for tag, step in (("round", round_id), ("time", round(time_s * MS_PER_S))):
                self._writer.add_scalar(f"{tag}/{name}", value, step, walltime=time_s)

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()


def _writer(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "scalars for TensorBoard need it installed: "
            "pip install 'netsim-fl[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder))

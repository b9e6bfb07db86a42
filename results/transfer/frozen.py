"""A clock whose transfers keep their first share to the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from netsim.band import BandNow, Terms, Transfer
from netsim.core.quantities import Hertz
from netsim.sharing import AtEvents


class FrozenAtStart(AtEvents):
    """A transfer gets the cell divided by the number of senders at its start; later
    starts and ends do not change its share."""

    kind: ClassVar[str] = "frozen-at-start"
    cell_hz: Hertz

    def divide(
        self,
        started: Sequence[Transfer],
        live: Mapping[int, Transfer],
        band: BandNow,
    ) -> Iterable[tuple[Transfer, Terms]]:
        share_uhz = round(self.cell_hz * 1e6) // max(len(live), 1)
        return [(transfer, Terms(pinned_uhz=share_uhz)) for transfer in started]

"""A clock that asks once: the share at a transfer's start is its share to the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from netsim.band import BandNow, Terms, Transfer
from netsim.core.quantities import Hertz
from netsim.sharing import AtEvents


class FrozenAtStart(AtEvents):
    """Whoever starts has the cell over those who send by then, until it is done; who
    starts later takes nothing from it, and who ends leaves it nothing."""

    cell_hz: Hertz

    def divide(
        self,
        started: Sequence[Transfer],
        live: Mapping[int, Transfer],
        band: BandNow,
    ) -> Iterable[tuple[Transfer, Terms]]:
        share_uhz = round(self.cell_hz * 1e6) // max(len(live), 1)
        return [(transfer, Terms(pinned_uhz=share_uhz)) for transfer in started]

"""Equal shares in whole resource blocks, as a cell's scheduler gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from netsim.band.shared import BandNow
from netsim.band.transfer import Terms, Transfer
from netsim.core.quantities import Hertz
from netsim.sharing.rule import AtEvents

NO_SHARE: Final = Terms(weight=0)


class WholeBlocks(AtEvents):
    """Live transfers have the same whole number of blocks, at least ``least``; what is
    left of the band is idle, and those that find no room take turns.

    A transfer that its radio or its window keeps below that has its limit, one in
    outage nothing. An event costs time linear in the number of live transfers.
    """

    kind: Literal["whole-blocks"] = "whole-blocks"
    block_hz: Annotated[Hertz, Field(gt=0)] = 180e3
    least: int = Field(default=3, ge=1)

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        limits, free_uhz = [], band.ruled_uhz()
        for one in live.values():
            if one.is_ruled and band.radio.efficiency_nbit(one.cn0_hz, free_uhz):
                limits.append((one.ceiling_uhz or free_uhz, one.order, one))
            elif one.is_ruled:
                yield one, NO_SHARE
        limits.sort(key=lambda at: at[:2])
        share_uhz = self.share_uhz(len(limits), free_uhz)
        for place, (limit_uhz, _, one) in enumerate(limits, start=1):
            yield one, Terms(weight=0, pinned_uhz=min(limit_uhz, share_uhz))
            if limit_uhz < share_uhz:  # the others have its blocks
                free_uhz -= limit_uhz
                left_uhz = self.share_uhz(len(limits) - place, free_uhz)
                share_uhz = max(share_uhz, left_uhz)  # turns would waste more blocks

    def share_uhz(self, num_live: int, free_uhz: int) -> int:
        """Return the mean share of each of ``num_live`` transfers, in micro-hertz."""
        if not num_live:
            return 0
        block_uhz = min(round(self.block_hz * 1e6), max(free_uhz, 1))
        num_blocks = free_uhz // block_uhz
        own = max(num_blocks // num_live, min(self.least, num_blocks))
        num_served = min(num_live, num_blocks // own) if own else 0
        return own * block_uhz * num_served // num_live

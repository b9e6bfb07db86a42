"""Work-conserving equal-finish: its shares are weights among the live transfers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from netsim.band.transfer import Terms
from netsim.channel.radio import Radio
from netsim.sharing.equal_finish import finish_shares_hz
from netsim.sharing.rule import Expected, PerRound

WEIGHT_SUM: Final = 1_000_000  # rounding loses less than 1 uHz per unit of weight


class WorkConserving(PerRound):
    """Live transfers divide the whole band, with a round's equal-finish shares as
    weights. No client ends later than under equal-finish, except for the rounding of
    weights to a millionth of the band.

    With the per-hertz radio and no ceilings a round ends at the least possible
    ``T* = max over x of (x + sum over {tau_n >= x} of t_n / band)``, as under every
    work-conserving rule (derived here). With ceilings or fixed power the order
    matters; this rule favours the transfers that need longest.
    """

    kind: Literal["work-conserving"] = "work-conserving"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        shares_hz = finish_shares_hz(expected, free_uhz, radio)
        total_hz = math.fsum(shares_hz) or 1.0
        scale = (WEIGHT_SUM - len(expected)) / total_hz
        return {
            one.client_id: Terms(weight=1 + int(share_hz * scale))
            for one, share_hz in zip(expected, shares_hz, strict=True)
        }

"""Equal-finish that wastes nothing: its shares as weights among those who send."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from netsim.band.transfer import Terms
from netsim.channel.radio import Radio
from netsim.sharing.equal_finish import finish_shares_hz
from netsim.sharing.rule import Expected, PerRound

WEIGHT_SUM: Final = 1_000_000  # a unit of weight loses less than a micro-hertz


class WorkConserving(PerRound):
    """A round's equal-finish shares are weights by which those who are sending divide
    the whole band, so nobody ends later than under equal-finish, up to the rounding of
    weights to a millionth of the band.

    Under the per-hertz radio without ceilings a round ends at the least possible
    ``T* = max over x of (x + sum over {tau_n >= x} of t_n / band)``, as under every
    rule that never idles (derived here); under ceilings or fixed power the order
    matters, and this one favours those who need longest.
    """

    kind: Literal["work-conserving"] = "work-conserving"

    def reserve(
        self, expected: Sequence[Expected], free_uhz: int, radio: Radio
    ) -> dict[int, Terms]:
        if not expected:
            return {}
        shares_hz = finish_shares_hz(expected, free_uhz, radio)
        total_hz = math.fsum(shares_hz) or 1.0
        scale = (WEIGHT_SUM - len(expected)) / total_hz
        return {
            one.client_id: Terms(weight=1 + int(share_hz * scale))
            for one, share_hz in zip(expected, shares_hz, strict=True)
        }

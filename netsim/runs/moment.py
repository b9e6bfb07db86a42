"""A moment of a run, which pandas computes with and people read."""

from __future__ import annotations

import pandas as pd

from netsim.core.quantities import format_duration_ns


class Moment(pd.Timedelta):
    """A Timedelta that reads ``7.02 s``, not ``0 days 00:00:07.016000``."""

    def __str__(self) -> str:
        return format_duration_ns(self.value)

    __repr__ = __str__

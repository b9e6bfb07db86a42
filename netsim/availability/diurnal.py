"""Availability that follows the time of day."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from netsim.availability.periodic import Span
from netsim.availability.presence import Interval
from netsim.core.clock import to_ns
from netsim.core.quantities import Seconds
from netsim.core.streams import uniform
from netsim.scenario.record import Record
from netsim.scenario.traits import Traits

Share = Annotated[float, Field(ge=0, le=1)]
Offset = Annotated[Seconds, Field(ge=0)]


class Diurnal(Record):
    """A client is available with a probability that follows a cosine over the day,
    from ``low`` to ``high``, with its maximum at ``peak``.

    A run begins at midnight. Each client's clock is behind by a uniform draw up to
    ``spread``. Each client draws one level per day and is available while the cosine
    exceeds it: one interval around the maximum.
    """

    traits: ClassVar[Traits] = {"comes-and-goes": ""}
    kind: Literal["diurnal"] = "diurnal"
    low: Share = 0.1
    high: Annotated[Share, Field(gt=0)] = 0.9
    peak_s: Offset = 79_200.0
    day_s: Span = 86_400.0
    spread_s: Offset = 0.0

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.low > self.high:
            raise ValueError(
                f"low must not exceed high ({self.high:g}), got {self.low:g}"
            )
        return self

    def intervals(self, seed: int, client_id: int, since_ns: int) -> Iterator[Interval]:
        day_ns = to_ns(self.day_s)
        late_s = self.spread_s * uniform(seed, "availability", client_id)
        top_ns = to_ns(self.peak_s + late_s)
        for day in itertools.count((since_ns - top_ns) // day_ns):
            level = uniform(seed, "availability", client_id, day)
            half_ns = to_ns(self._half_s(level))
            if half_ns:
                middle_ns = top_ns + day * day_ns
                yield middle_ns - half_ns, middle_ns + half_ns

    def share(self, client_id: int) -> float:
        return (self.low + self.high) / 2

    def _half_s(self, level: float) -> float:
        """Return half of the time per day that the cosine exceeds a level, in s."""
        if level <= self.low:
            return self.day_s / 2
        if level >= self.high:
            return 0.0
        height = (2 * level - self.low - self.high) / (self.high - self.low)
        return self.day_s / math.tau * math.acos(max(-1.0, min(1.0, height)))

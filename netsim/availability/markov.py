"""Availability in intervals of exponential length."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import ClassVar, Literal

from netsim.availability.periodic import Span
from netsim.availability.presence import Interval
from netsim.core.clock import to_ns
from netsim.core.streams import uniform
from netsim.scenario.record import Record
from netsim.scenario.traits import Traits


class Markov(Record):
    """A two-state Markov process per client: available for exponential times of mean
    ``mean_on``, away for exponential times of mean ``mean_off``. It starts in
    equilibrium."""

    traits: ClassVar[Traits] = {"comes-and-goes": ""}
    kind: Literal["markov"] = "markov"
    mean_on_s: Span
    mean_off_s: Span

    def intervals(self, seed: int, client_id: int, since_ns: int) -> Iterator[Interval]:
        is_available = uniform(seed, "availability", client_id) < self.share(client_id)
        now_ns = 0
        for number in itertools.count():
            mean_s = self.mean_on_s if is_available else self.mean_off_s
            draw = uniform(seed, "availability", client_id, number)
            start_ns, now_ns = now_ns, now_ns + to_ns(-mean_s * math.log1p(-draw))
            if is_available:
                yield start_ns, now_ns
            is_available = not is_available

    def share(self, client_id: int) -> float:
        return self.mean_on_s / (self.mean_on_s + self.mean_off_s)

"""What only learning can tell a policy: numbers measured on clients' changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from netsim.policy.noise_scale import (
    Estimated,
    RoundMoments,
    pooled_ratio,
    rank_exponent,
)
from netsim.policy.pilots import Measured, Update, measured
from netsim.policy.sampler import FloatArray
from netsim.policy.surrogate import Exponent


class Measuring(Protocol):
    """Measures the constants of a plan; an audit takes them from the trace instead."""

    def norms(
        self,
        updates: Sequence[Update],
        num_clients: int,
        *,
        otherwise: float,
        has_trend: bool = False,
    ) -> Measured:
        """Return exponent and norms; see :func:`netsim.policy.pilots.measured`."""

    def ratio(
        self, moments: Sequence[RoundMoments], data_weights: FloatArray
    ) -> Estimated:
        """Return the surrogate's ``beta / alpha``, as rounds show it."""

    def rank_exponent(self, updates: Sequence[Update]) -> Exponent:
        """Return the exponent that rounds of mixed ranks show."""


class OfChanges:
    """Measures the changes of a run that learns."""

    def norms(
        self,
        updates: Sequence[Update],
        num_clients: int,
        *,
        otherwise: float,
        has_trend: bool = False,
    ) -> Measured:
        return measured(updates, num_clients, otherwise=otherwise, has_trend=has_trend)

    def ratio(
        self, moments: Sequence[RoundMoments], data_weights: FloatArray
    ) -> Estimated:
        return pooled_ratio(moments, data_weights)

    def rank_exponent(self, updates: Sequence[Update]) -> Exponent:
        return rank_exponent(updates)

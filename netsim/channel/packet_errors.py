"""Transmission errors: lost messages and their retries."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from netsim.core.quantities import MAX_S, Bits, Seconds
from netsim.core.streams import uniform
from netsim.scenario.record import Record

PACKET_BITS = 12_000  # 1500 bytes
_Chance = Annotated[float, Field(ge=0, lt=1)]


class TransmissionErrors(Record):
    """A message is lost as a whole; the loss is detected at its last bit.

    ``probability`` is the probability of losing a message of any size;
    ``packet_error_rate`` is the one of losing a packet, and a message is lost with any
    of its packets. After a loss, or an outage that ended the transfer, the message is
    sent again after ``backoff``, which grows by ``backoff_factor`` with every retry.
    After ``max_retries`` retries the participation is dropped.
    """

    probability: _Chance | None = None
    packet_error_rate: _Chance | None = None
    packet_bits: Annotated[Bits, Field(gt=0)] = PACKET_BITS
    max_retries: int = Field(ge=0, le=10_000)
    backoff_s: Annotated[Seconds, Field(ge=0)] = 0.0
    backoff_factor: float = Field(default=1.0, ge=1, le=10)

    @model_validator(mode="after")
    def _check_probabilities(self) -> TransmissionErrors:
        if (self.probability is None) == (self.packet_error_rate is None):
            raise ValueError(
                "needs `probability` (of losing a message) or `packet_error_rate`, one "
                "of them"
            )
        if self.packet_bits != PACKET_BITS and self.packet_error_rate is None:
            raise ValueError("`packet` is the size that goes with `packet_error_rate`")
        growth = math.log2(self.backoff_factor) * (self.max_retries - 1)
        pauses = range(1, self.max_retries + 1 if growth < 100 else 0)
        if self.backoff_s and (growth >= 100 or sum(map(self.pause_s, pauses)) > MAX_S):
            raise ValueError(
                f"`backoff` would grow beyond any run: all {self.max_retries} of them "
                f"take over {MAX_S:g} s; allow fewer retries, or shorten it"
            )
        return self

    def loss_probability(self, bits: int) -> float:
        """Return the probability that one attempt to send ``bits`` is lost."""
        if self.packet_error_rate is None:
            assert self.probability is not None
            return self.probability
        num_packets = -(-bits // self.packet_bits)
        return -math.expm1(num_packets * math.log1p(-self.packet_error_rate))

    def mean_attempts(self, bits: int) -> float:
        """Return the mean number of attempts to send ``bits``, ``(1 - p^n) / (1 - p)``
        with at most ``n`` attempts."""
        lost = self.loss_probability(bits)
        most = self.max_retries + 1
        return float(most) if lost == 1 else (1 - lost**most) / (1 - lost)

    def is_lost(self, bits: int, seed: int, *attempt: str | int) -> bool:
        """Return whether an attempt is lost; ``attempt`` is the key of its draw."""
        return uniform(seed, "loss", *attempt) < self.loss_probability(bits)

    def pause_s(self, num_lost: int) -> float:
        """Return the backoff after ``num_lost`` lost attempts, in seconds."""
        if not self.backoff_s:
            return 0.0
        return self.backoff_s * math.pow(self.backoff_factor, num_lost - 1)

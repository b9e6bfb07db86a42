"""How much less an update counts, the more versions have come out since it began."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from netsim.scenario import Record
from netsim.scenario.plug_ins import Answer, Answers, is_number


class Staleness(Protocol):
    """A discount by staleness (arXiv 1903.03934, section 6)."""

    def discount(self, staleness: int) -> float:
        """Return the factor, 1 for a fresh update."""


ANSWERS: Answers = {
    "discount": Answer(
        "a finite factor of at least 0", lambda answer, _: is_number(answer, 0)
    ),
}


class ConstantStaleness(Record):
    """No discount: a stale update counts as much as a fresh one."""

    kind: Literal["constant"] = "constant"

    def discount(self, staleness: int) -> float:
        return 1.0


class PolynomialStaleness(Record):
    """``(1 + staleness) ** -exponent``."""

    kind: Literal["polynomial"] = "polynomial"
    exponent: float = Field(default=0.5, ge=0)

    def discount(self, staleness: int) -> float:
        return float((1 + staleness) ** -self.exponent)


class HingeStaleness(Record):
    """No discount up to ``grace``; beyond, ``1 / (1 + slope (staleness - grace))``."""

    kind: Literal["hinge"] = "hinge"
    slope: float = Field(default=10.0, ge=0)
    grace: int = Field(default=4, ge=0)

    def discount(self, staleness: int) -> float:
        return 1.0 / (1.0 + self.slope * max(0, staleness - self.grace))


STALENESSES = {
    "constant": ConstantStaleness,
    "hinge": HingeStaleness,
    "polynomial": PolynomialStaleness,
}

"""What servers that work in rounds have in common, as a scenario writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from netsim.core.quantities import Seconds
from netsim.policy import SAMPLERS, Sampler
from netsim.policy.sampler import ANSWERS
from netsim.scenario import OneOf, Record
from netsim.scenario.traits import SAMPLER, Trait, Traits
from netsim.server.outages import Outages
from netsim.server.rules import RoundRules, ServerRules
from netsim.server.story import RoundTiming

DrawnBy = Annotated[Sampler, OneOf(SAMPLERS, SAMPLER, ANSWERS, "sampling")]
Duration = Annotated[Seconds, Field(ge=0)]


class RoundSettings(Record):
    """What servers that work in rounds have in common.

    ``announce_time`` precedes every round, ``merge_time`` every merge; zero is free of
    charge only because the scenario says so. Without ``sampling`` a policy decides it.
    A drawn client that is away, or still in a task of an earlier round, takes no part.
    """

    sampling: DrawnBy | None = None
    announce_time_s: Duration
    merge_time_s: Duration
    merge_first: Annotated[int, Field(ge=1)] | None = None  # arrivals end the round
    late: Literal["drop", "next-round"] = "drop"  # what becomes of late clients
    staleness_exponent: float = Field(default=0.0, ge=0)  # of the late: (1 + s) ** -e
    corrects_arrivals: bool = False  # weights over the part of the round that arrived
    corrects_presence: bool = False  # weights over the client's share of time available
    outages: Outages = ()

    @model_validator(mode="after")
    def _check_late(self) -> RoundSettings:
        if self.late == "drop" and self.staleness_exponent:
            raise ValueError("staleness_exponent needs `late: next-round`")
        if self.late == "next-round" and self.corrects_arrivals:
            raise ValueError(
                "corrects_arrivals is for `late: drop`: with `next-round` the late "
                "arrive too"
            )
        return self

    @property
    def common_traits(self) -> Traits:
        """Return the traits that follow from these settings."""
        found: dict[Trait, str] = {
            "lacks-sampling" if self.sampling is None else "has-sampling": "sampling"
        }
        if self.merge_first is not None:
            found["takes-first"] = "merge_first"
        if self.late == "next-round":
            found |= {"merges-old-versions": "late", "overlaps-rounds": "late"}
        else:
            found["merges-new-versions"] = ""
        if self.corrects_presence:
            found["corrects-presence"] = "corrects_presence"
        if self.outages:
            found["has-outages"] = "outages"
        return found

    @property
    def round_timing(self) -> RoundTiming:
        return RoundTiming(self.announce_time_s, self.merge_time_s)

    @property
    def rules(self) -> ServerRules:
        rounds = RoundRules(
            timing=self.round_timing,
            num_first=self.merge_first,
            keeps_late=self.late == "next-round",
            staleness_exponent=self.staleness_exponent,
            corrects_arrivals=self.corrects_arrivals,
            corrects_presence=self.corrects_presence,
        )
        return ServerRules(rounds=rounds, outages=self.outages)

    @property
    def counts(self) -> Mapping[str, int]:
        return {} if self.merge_first is None else {"merge_first": self.merge_first}

"""At which rank each client trains: all of the adapter, or a sketch of it."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from netsim.device import Device
from netsim.scenario import Record

Rank = Annotated[int, Field(ge=1)]


class Ranks(Protocol):
    """Chooses a client's rank, at most the adapter's own."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    def rank(self, full_rank: int, device: Device) -> int:
        """Return the rank of a client with this device."""


class FullRank(Record):
    """Every client trains the whole adapter."""

    kind: Literal["full"] = "full"

    def rank(self, full_rank: int, device: Device) -> int:
        return full_rank


class FixedRank(Record):
    """Every client trains a sketch of the same rank, drawn anew for each start."""

    kind: Literal["fixed"] = "fixed"
    client_rank: Rank = Field(alias="rank")

    def rank(self, full_rank: int, device: Device) -> int:
        return min(self.client_rank, full_rank)


class Tier(Record):
    """The rank of one kind of device."""

    device: str = Field(min_length=1)
    client_rank: Rank = Field(alias="rank")


class TieredRanks(Record):
    """Every kind of device has its own rank; one that is not listed trains it all."""

    kind: Literal["tiered"] = "tiered"
    tiers: tuple[Tier, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_each_once(self) -> TieredRanks:
        names = [tier.device for tier in self.tiers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"tiers list {twice[0]!r} twice")
        return self

    def rank(self, full_rank: int, device: Device) -> int:
        ranks = {tier.device: tier.client_rank for tier in self.tiers}
        return min(ranks.get(device.name, full_rank), full_rank)


RANKS = {"fixed": FixedRank, "full": FullRank, "tiered": TieredRanks}

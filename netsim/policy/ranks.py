"""At which rank each client trains: all of the adapter, or less of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, Protocol, TypeAlias

from pydantic import Field, model_validator

from netsim.devices.device import Device
from netsim.errors import InputError
from netsim.scenario import Record
from netsim.scenario.plug_ins import Answer, Answers, is_whole
from netsim.scenario.traits import Declaring, Traits

Rank = Annotated[int, Field(ge=1)]
MemoryAt: TypeAlias = Callable[[int], int]


class Ranks(Declaring, Protocol):
    """Chooses a client's rank, at most the adapter's own."""

    def rank(self, full_rank: int, device: Device, memory_at: MemoryAt) -> int:
        """Return the rank of a client with this device; ``memory_at`` tells the bytes
        that training at a rank needs."""


ANSWERS: Answers = {
    "rank": Answer(
        "a whole rank from 1 to the adapter's",
        lambda answer, full_rank, device, memory_at: (
            is_whole(answer, 1) and answer <= full_rank
        ),
        unless="full-ranks",
    ),
}


class FullRank(Record):
    """Every client trains the whole adapter."""

    traits: ClassVar[Traits] = {"full-ranks": ""}
    kind: Literal["full"] = "full"

    def rank(self, full_rank: int, device: Device, memory_at: MemoryAt) -> int:
        return full_rank


def _within(rank: int, full_rank: int) -> int:
    """Return a client's rank; refuse one above the adapter's."""
    if rank > full_rank:
        raise InputError(
            f"rank must not exceed the adapter's {full_rank} (`learning.lora.r`), got "
            f"{rank}"
        )
    return rank


class FixedRank(Record):
    """Every client trains a sketch of the same rank, with new draws for each start."""

    traits: ClassVar[Traits] = {"lower-ranks": ""}
    kind: Literal["fixed"] = "fixed"
    client_rank: Rank = Field(alias="rank")

    def rank(self, full_rank: int, device: Device, memory_at: MemoryAt) -> int:
        return _within(self.client_rank, full_rank)


class Tier(Record):
    """The rank of one kind of device."""

    device: str = Field(min_length=1)
    client_rank: Rank = Field(alias="rank")


class TieredRanks(Record):
    """Every kind of device has its own rank; one that is not listed trains it all."""

    traits: ClassVar[Traits] = {"lower-ranks": "", "ranks-by-device": ""}
    kind: Literal["tiered"] = "tiered"
    tiers: tuple[Tier, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_each_once(self) -> TieredRanks:
        names = [tier.device for tier in self.tiers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"tiers list {twice[0]!r} twice")
        return self

    def rank(self, full_rank: int, device: Device, memory_at: MemoryAt) -> int:
        ranks = {tier.device: tier.client_rank for tier in self.tiers}
        return _within(ranks.get(device.name, full_rank), full_rank)


class RanksByMemory(Record):
    """Every client trains the highest rank that fits into its device's memory."""

    traits: ClassVar[Traits] = {"lower-ranks": "", "ranks-by-memory": ""}
    kind: Literal["by-memory"] = "by-memory"

    def rank(self, full_rank: int, device: Device, memory_at: MemoryAt) -> int:
        fitting = bisect_right(
            range(1, full_rank + 1), device.memory_bytes, key=memory_at
        )
        return max(fitting, 1)  # where none fits, the fleet is refused for it


RANKS = {
    "by-memory": RanksByMemory,
    "fixed": FixedRank,
    "full": FullRank,
    "tiered": TieredRanks,
}

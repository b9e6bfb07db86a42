"""Servers that work in rounds, with or without a deadline."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from netsim.client.participation import Process
from netsim.core.quantities import Seconds
from netsim.scenario.traits import Traits
from netsim.server.round_loop import RoundLoop
from netsim.server.round_settings import RoundSettings
from netsim.server.stage import Stage
from netsim.server.story import RoundTiming


class Synchronous(RoundSettings):
    """Waits for every drawn client, or for the first ``merge_first`` updates, then
    merges; other tasks are cut, or merged in the next round."""

    kind: Literal["synchronous"] = "synchronous"

    @model_validator(mode="after")
    def _check_late_needs_first(self) -> Synchronous:
        if self.merge_first is None and self.late == "next-round":
            raise ValueError(
                "late needs `merge_first`, or a 'deadline' server: no client is late "
                "where the server waits for all"
            )
        return self

    @property
    def traits(self) -> Traits:
        waits: Traits = {"waits-for-all": ""} if self.merge_first is None else {}
        return {**waits, **self.common_traits}

    def play(self, stage: Stage) -> Process:
        """Run rounds until the run is over."""
        return RoundLoop(stage, self, self.round_timing).play()


class Deadline(RoundSettings):
    """Merges when all updates have arrived, or at the deadline, counted from the
    round's start. A late client is cut at that very tick and its work is lost, or it
    goes on and is merged in the next round that it arrives in."""

    kind: Literal["deadline"] = "deadline"
    deadline_s: Annotated[Seconds, Field(gt=0)]

    @model_validator(mode="after")
    def _check_deadline(self) -> Deadline:
        if self.deadline_s <= self.announce_time_s:
            raise ValueError(
                f"deadline must exceed announce_time ({self.announce_time_s:g} s), "
                f"got {self.deadline_s:g} s"
            )
        return self

    @property
    def traits(self) -> Traits:
        return {"has-deadline": "deadline", **self.common_traits}

    @property
    def round_timing(self) -> RoundTiming:
        return RoundTiming(self.announce_time_s, self.merge_time_s, self.deadline_s)

    def play(self, stage: Stage) -> Process:
        """Run rounds until the run is over."""
        return RoundLoop(stage, self, self.round_timing).play()

"""The story of a server that works in rounds, patient or not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from netsim.client.participation import Process
from netsim.core.quantities import Seconds
from netsim.scenario.traits import Traits
from netsim.server.round_loop import Turns
from netsim.server.round_settings import Manners
from netsim.server.round_timing import RoundTiming
from netsim.server.stage import Stage


class Synchronous(Manners):
    """Waits for every drawn client, or for the ``merge_first`` that are there first,
    then merges; who is not among these is cut off, or merged in the next round."""

    kind: Literal["synchronous"] = "synchronous"

    @model_validator(mode="after")
    def _waits_for_all(self) -> Synchronous:
        if self.merge_first is None and self.late == "next-round":
            raise ValueError(
                "late needs `merge_first`, or a 'deadline' server: nobody is late "
                "where everybody is waited for"
            )
        return self

    @property
    def traits(self) -> Traits:
        waits: Traits = {"waits-for-all": ""} if self.merge_first is None else {}
        return {**waits, **self.common_traits}

    @property
    def round_timing(self) -> RoundTiming:
        return RoundTiming(self.announce_time_s, self.merge_time_s)

    def play(self, stage: Stage) -> Process:
        """Run rounds until the run is over."""
        return Turns(stage, self, self.round_timing).play()


class Deadline(Manners):
    """Merges when all have arrived, or when the deadline, counted from the round's
    start, is over: who is late is cut off at that very tick and its work is lost, or
    goes on and is merged in the next round that it arrives in."""

    kind: Literal["deadline"] = "deadline"
    deadline_s: Annotated[Seconds, Field(gt=0)]

    @model_validator(mode="after")
    def _leaves_time(self) -> Deadline:
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
        return Turns(stage, self, self.round_timing).play()

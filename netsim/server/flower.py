"""The server of a Flower app, which decides itself whom it asks and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from netsim.client.participation import Process
from netsim.scenario import Record
from netsim.scenario.traits import Traits
from netsim.server.round_settings import Duration
from netsim.server.rules import ServerRules
from netsim.server.stage import Stage


class Flower(Record):
    """Plays the server of a Flower app, which draws, waits and aggregates itself.

    A round ends when the app receives replies, or waits no longer for them. A client
    has one message at a time; another one waits until it is free. ``merge_time``
    passes after the app has got replies, before it sends more.
    """

    sampling: ClassVar[None] = None
    round_timing: ClassVar[None] = None
    counts: ClassVar[Mapping[str, int]] = {}
    rules: ClassVar[ServerRules] = ServerRules()
    traits: ClassVar[Traits] = {"runs-an-app": ""}
    kind: Literal["flower"] = "flower"
    merge_time_s: Duration

    def play(self, stage: Stage) -> Process:
        """Run until the app, or the run, is over."""
        from netsim.server.app_loop import AppLoop

        return AppLoop(stage, self.merge_time_s).play()

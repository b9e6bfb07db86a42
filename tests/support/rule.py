"""A user's sharing rule as text, whose weight a test fills in."""

RULE = """
from typing import ClassVar

from netsim.band.transfer import Terms
from netsim.sharing import AtEvents


class Plain(AtEvents):
    kind: ClassVar[str] = "plain"

    def divide(self, started, live, band):
        return [(one, Terms(weight={weight})) for one in started]
"""

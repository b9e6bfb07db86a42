"""Who gets how much of the band: one strategy per rule."""

from netsim.sharing.equal import EqualFixed, ProcessorSharing
from netsim.sharing.equal_finish import EqualFinish, finish_s
from netsim.sharing.rule import Expected, SharingRule

SHARING_RULES = {
    "equal-finish": EqualFinish,
    "equal-fixed": EqualFixed,
    "processor-sharing": ProcessorSharing,
}

__all__ = [
    "SHARING_RULES",
    "EqualFinish",
    "EqualFixed",
    "Expected",
    "ProcessorSharing",
    "SharingRule",
    "finish_s",
]

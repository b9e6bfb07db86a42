"""The sharing rules: how transfers divide a band, one strategy per rule.

``processor-sharing``, ``weighted``, ``work-conserving``, ``shortest-first``,
``first-come``, the rules that end in ``live`` and both kinds of TDMA are
work-conserving: they never leave the band idle while a transfer has bits to send (TDMA,
and ``first-come`` while a transfer waits: unless a ceiling binds). ``whole-blocks``
leaves idle what does not go into blocks; the others fix each participant's share for a
round. With the per-hertz radio, constant efficiency and no ceilings all work-conserving
rules end a round at the same time and differ only in the order of the ends; at fixed
power the end of the round differs too.
"""

from netsim.sharing.equal import EqualFixed, ProcessorSharing
from netsim.sharing.equal_finish import EqualFinish
from netsim.sharing.equal_rate import EqualRate, MaxMin
from netsim.sharing.first_come import FirstCome
from netsim.sharing.live import LiveMaxMin, LiveProportionalFair
from netsim.sharing.payload import Proportional, Weighted
from netsim.sharing.proportional_fair import ProportionalFair
from netsim.sharing.rule import AtEvents, Expected, PerRound, SharingRule
from netsim.sharing.shortest_first import ShortestFirst
from netsim.sharing.tdma import FirstComeTdma, ShortestFirstTdma
from netsim.sharing.whole_blocks import WholeBlocks
from netsim.sharing.work_conserving import WorkConserving

SHARING_RULES = {
    "equal-finish": EqualFinish,
    "equal-fixed": EqualFixed,
    "equal-rate": EqualRate,
    "first-come": FirstCome,
    "max-min": MaxMin,
    "max-min-live": LiveMaxMin,
    "processor-sharing": ProcessorSharing,
    "proportional": Proportional,
    "proportional-fair": ProportionalFair,
    "proportional-fair-live": LiveProportionalFair,
    "shortest-first": ShortestFirst,
    "tdma-first-come": FirstComeTdma,
    "tdma-shortest-first": ShortestFirstTdma,
    "weighted": Weighted,
    "whole-blocks": WholeBlocks,
    "work-conserving": WorkConserving,
}

__all__ = [
    "SHARING_RULES",
    "AtEvents",
    "Expected",
    "PerRound",
    "ProcessorSharing",
    "SharingRule",
]

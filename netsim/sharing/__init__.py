"""Who gets how much of the band: one strategy per rule.

``processor-sharing``, ``weighted``, ``work-conserving``, ``shortest-first``, the rules
that end in ``live`` and both kinds of TDMA never leave the band idle while somebody has
bits to send (TDMA: unless a ceiling binds); the others fix each participant's share for
a round. Under the per-hertz radio, constant efficiency and no ceilings all that never
idle end a round at the same moment; they differ in who ends when, and under fixed power
in that moment too.
"""

from netsim.sharing.equal import EqualFixed, ProcessorSharing
from netsim.sharing.equal_finish import EqualFinish, finish_s, finish_shares_hz
from netsim.sharing.equal_rate import EqualRate, MaxMin
from netsim.sharing.live import LiveMaxMin, LiveProportionalFair
from netsim.sharing.payload import Proportional, Weighted
from netsim.sharing.proportional_fair import ProportionalFair
from netsim.sharing.rule import AtEvents, Expected, PerRound, SharingRule
from netsim.sharing.shortest_first import ShortestFirst
from netsim.sharing.tdma import FirstComeTdma, ShortestFirstTdma
from netsim.sharing.work_conserving import WorkConserving

SHARING_RULES = {
    "equal-finish": EqualFinish,
    "equal-fixed": EqualFixed,
    "equal-rate": EqualRate,
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
    "work-conserving": WorkConserving,
}

__all__ = [
    "SHARING_RULES",
    "AtEvents",
    "EqualFinish",
    "EqualFixed",
    "EqualRate",
    "Expected",
    "FirstComeTdma",
    "LiveMaxMin",
    "LiveProportionalFair",
    "MaxMin",
    "PerRound",
    "ProcessorSharing",
    "Proportional",
    "ProportionalFair",
    "SharingRule",
    "ShortestFirst",
    "ShortestFirstTdma",
    "Weighted",
    "WorkConserving",
    "finish_s",
    "finish_shares_hz",
]

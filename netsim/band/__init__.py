"""A shared band: exact fluid sharing among transfers in integer arithmetic."""

from netsim.band.own_links import Medium, OwnLinks
from netsim.band.shared import BandNow, SharedBand
from netsim.band.transfer import Message, Pace, Terms, Transfer

__all__ = [
    "BandNow",
    "Medium",
    "Message",
    "OwnLinks",
    "Pace",
    "SharedBand",
    "Terms",
    "Transfer",
]

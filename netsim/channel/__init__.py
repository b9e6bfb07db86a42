"""The radio channel: from a device's place to the rate of its share of the band."""

from netsim.channel.budget import (
    db_to_linear,
    dbm_to_w,
    linear_to_db,
    mean_cn0_hz,
    noise_dbm,
)
from netsim.channel.capacity import CapacityTable
from netsim.channel.fading import (
    FADINGS,
    Fading,
    NoFading,
    RayleighBlock,
    RayleighFast,
    RicianBlock,
)
from netsim.channel.link import Channel, Link, MovingLink, WorstLink
from netsim.channel.mcs_table import McsTableRadio
from netsim.channel.measured_radio import MeasuredRadio
from netsim.channel.outage import OutageRadio
from netsim.channel.path_loss import LogDistance, PathLoss
from netsim.channel.placement import (
    PLACEMENTS,
    Disc,
    Placement,
    Points,
    Positions,
    Ring,
    require_reachable,
)
from netsim.channel.radio import RADIOS, FixedPowerRadio, PerHertzRadio, Radio
from netsim.channel.tr38901 import (
    PATH_LOSSES,
    IndoorOffice,
    RuralMacro,
    UrbanMacro,
    UrbanMicro,
)

__all__ = [
    "FADINGS",
    "PATH_LOSSES",
    "PLACEMENTS",
    "RADIOS",
    "CapacityTable",
    "Channel",
    "Disc",
    "Fading",
    "FixedPowerRadio",
    "IndoorOffice",
    "Link",
    "LogDistance",
    "McsTableRadio",
    "MeasuredRadio",
    "MovingLink",
    "NoFading",
    "OutageRadio",
    "PathLoss",
    "PerHertzRadio",
    "Placement",
    "Points",
    "Positions",
    "Radio",
    "RayleighBlock",
    "RayleighFast",
    "RicianBlock",
    "Ring",
    "RuralMacro",
    "UrbanMacro",
    "UrbanMicro",
    "WorstLink",
    "db_to_linear",
    "dbm_to_w",
    "linear_to_db",
    "mean_cn0_hz",
    "noise_dbm",
    "require_reachable",
]

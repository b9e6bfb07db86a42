"""Every seam of a scenario with the kinds that it chooses among."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fl.aggregation import AGGREGATIONS, COMPRESSIONS, SERVER_OPTIMISERS
from fl.backbones import BACKBONES
from fl.partition import PARTITIONS
from fl.tasks import TASKS
from netsim.availability import AVAILABILITIES
from netsim.channel import FADINGS, PATH_LOSSES, PLACEMENTS, RADIOS
from netsim.channel.latency import JITTERS
from netsim.channel.own_links import LINKS
from netsim.cosim.learning_kinds import LEARNINGS
from netsim.devices.device import SPREADS
from netsim.mobility import MOBILITIES
from netsim.policy import RANKS, SAMPLERS
from netsim.server import POLICIES, SERVERS
from netsim.server.staleness import STALENESSES
from netsim.sharing import SHARING_RULES

SEAMS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("servers", "server", SERVERS),
    ("sampling", "server.sampling", SAMPLERS),
    ("staleness", "server.staleness", STALENESSES),
    ("policies", "policy", POLICIES),
    ("ranks", "ranks", RANKS),
    ("sharing rules", "cell.uplink.sharing", SHARING_RULES),
    ("radios", "cell.uplink.radio", RADIOS),
    ("path loss", "cell.path_loss", PATH_LOSSES),
    ("fading", "cell.fading", FADINGS),
    ("jitter", "cell.uplink.jitter", JITTERS),
    ("own links", "population.links", LINKS),
    ("placement", "population.placement", PLACEMENTS),
    ("mobility", "population.mobility", MOBILITIES),
    ("speed spread", "population.speed_spread", SPREADS),
    ("availability", "population.availability", AVAILABILITIES),
    ("learning", "learning", LEARNINGS),
    ("tasks", "learning.task", TASKS),
    ("backbones", "learning.backbone", BACKBONES),
    ("partitions", "learning.partition", PARTITIONS),
    ("aggregation", "learning.aggregation", AGGREGATIONS),
    ("server optimiser", "learning.server_optimiser", SERVER_OPTIMISERS),
    ("compression", "learning.compression", COMPRESSIONS),
)

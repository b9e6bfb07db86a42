"""Every seam of a scenario with the kinds that it chooses among."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fl.aggregation import AGGREGATIONS, COMPRESSIONS, SERVER_OPTIMISERS
from fl.backbones import BACKBONES
from fl.local import LOCAL_TRAININGS
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


class Seam(NamedTuple):
    """A place in a scenario that holds one of several kinds."""

    name: str  # under which installed plug-ins are known
    title: str
    path: str  # in a scenario
    choices: Mapping[str, Any]


SEAMS: tuple[Seam, ...] = (
    Seam("server", "servers", "server", SERVERS),
    Seam("sampling", "sampling", "server.sampling", SAMPLERS),
    Seam("staleness", "staleness", "server.staleness", STALENESSES),
    Seam("policy", "policies", "policy", POLICIES),
    Seam("ranks", "ranks", "ranks", RANKS),
    Seam("sharing", "sharing rules", "cell.uplink.sharing", SHARING_RULES),
    Seam("radio", "radios", "cell.uplink.radio", RADIOS),
    Seam("path_loss", "path loss", "cell.path_loss", PATH_LOSSES),
    Seam("fading", "fading", "cell.fading", FADINGS),
    Seam("jitter", "jitter", "cell.uplink.jitter", JITTERS),
    Seam("links", "own links", "population.links", LINKS),
    Seam("placement", "placement", "population.placement", PLACEMENTS),
    Seam("mobility", "mobility", "population.mobility", MOBILITIES),
    Seam("speed_spread", "speed spread", "population.speed_spread", SPREADS),
    Seam("availability", "availability", "population.availability", AVAILABILITIES),
    Seam("learning", "learning", "learning", LEARNINGS),
    Seam("task", "tasks", "learning.task", TASKS),
    Seam("backbone", "backbones", "learning.backbone", BACKBONES),
    Seam("partition", "partitions", "learning.partition", PARTITIONS),
    Seam(
        "local_training", "local training", "learning.local_training", LOCAL_TRAININGS
    ),
    Seam("aggregation", "aggregation", "learning.aggregation", AGGREGATIONS),
    Seam(
        "server_optimiser",
        "server optimiser",
        "learning.server_optimiser",
        SERVER_OPTIMISERS,
    ),
    Seam("compression", "compression", "learning.compression", COMPRESSIONS),
)

"""The story of the server: who starts when, and what is merged when."""

from netsim.protocol.adaptive import AdaptivePolicy, Constants
from netsim.protocol.asynchronous import Asynchronous
from netsim.protocol.buffered import Buffered
from netsim.protocol.course import Policy
from netsim.protocol.hierarchical import Hierarchical
from netsim.protocol.learner import (
    Arrival,
    Job,
    LayerError,
    Learner,
    Merged,
    Score,
)
from netsim.protocol.no_learning import NoLearning
from netsim.protocol.piloting import Pilot
from netsim.protocol.planned import PlannedPolicy
from netsim.protocol.proportional import ProportionalPolicy
from netsim.protocol.rounds import Deadline, Synchronous
from netsim.protocol.stage import Progress, Stage
from netsim.protocol.stop import Stop, Target

SERVERS = {
    "asynchronous": Asynchronous,
    "buffered": Buffered,
    "deadline": Deadline,
    "hierarchical": Hierarchical,
    "synchronous": Synchronous,
}

POLICIES = {
    "adaptive": AdaptivePolicy,
    "planned": PlannedPolicy,
    "proportional": ProportionalPolicy,
}

__all__ = [
    "POLICIES",
    "SERVERS",
    "AdaptivePolicy",
    "Arrival",
    "Asynchronous",
    "Buffered",
    "Constants",
    "Deadline",
    "Hierarchical",
    "Job",
    "LayerError",
    "Learner",
    "Merged",
    "NoLearning",
    "Pilot",
    "PlannedPolicy",
    "Policy",
    "Progress",
    "ProportionalPolicy",
    "Score",
    "Stage",
    "Stop",
    "Synchronous",
    "Target",
]

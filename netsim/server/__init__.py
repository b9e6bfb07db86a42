"""Servers: when clients start, and when which updates are merged."""

from netsim.learner.stop import Stop, Target
from netsim.server.asynchronous import Asynchronous
from netsim.server.buffered import Buffered
from netsim.server.flower import Flower
from netsim.server.hierarchical import Hierarchical
from netsim.server.policies.adaptive import AdaptivePolicy
from netsim.server.policies.piloting import Pilot
from netsim.server.policies.planned import PlannedPolicy
from netsim.server.policies.policy import Constants, Policy
from netsim.server.policies.proportional import ProportionalPolicy
from netsim.server.rounds import Deadline, Synchronous

SERVERS = {
    "asynchronous": Asynchronous,
    "buffered": Buffered,
    "deadline": Deadline,
    "flower": Flower,
    "hierarchical": Hierarchical,
    "synchronous": Synchronous,
}

POLICIES = {
    "adaptive": AdaptivePolicy,
    "planned": PlannedPolicy,
    "proportional": ProportionalPolicy,
}

__all__ = ["POLICIES", "SERVERS", "Constants", "Pilot", "Policy", "Stop", "Target"]

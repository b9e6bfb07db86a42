"""The story of the server: who starts when, and what is merged when."""

from netsim.protocol.buffered import Buffered
from netsim.protocol.learner import (
    Arrival,
    Job,
    LayerError,
    Learner,
    Merged,
    Score,
)
from netsim.protocol.no_learning import NoLearning
from netsim.protocol.rounds import Deadline, Synchronous
from netsim.protocol.stage import Progress, Stage
from netsim.protocol.stop import Stop, Target

SERVERS = {
    "buffered": Buffered,
    "deadline": Deadline,
    "synchronous": Synchronous,
}

__all__ = [
    "SERVERS",
    "Arrival",
    "Buffered",
    "Deadline",
    "Job",
    "LayerError",
    "Learner",
    "Merged",
    "NoLearning",
    "Progress",
    "Score",
    "Stage",
    "Stop",
    "Synchronous",
    "Target",
]

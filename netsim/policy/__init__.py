"""Who takes part, and with which weight: one strategy per file."""

from netsim.policy.data_weighted import DataWeightedSampling
from netsim.policy.full import FullParticipation
from netsim.policy.independent import IndependentSampling
from netsim.policy.oort import Oort
from netsim.policy.ranks import RANKS, FullRank, Ranks
from netsim.policy.sampler import Drawn, Sampler
from netsim.policy.uniform import UniformSampling
from netsim.policy.weighted import WeightedSampling

SAMPLERS = {
    "data-weighted": DataWeightedSampling,
    "full": FullParticipation,
    "independent": IndependentSampling,
    "oort": Oort,
    "uniform": UniformSampling,
    "weighted": WeightedSampling,
}

__all__ = ["RANKS", "SAMPLERS", "Drawn", "FullRank", "Ranks", "Sampler"]

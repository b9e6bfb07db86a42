"""Who takes part, and with which weight: one strategy per file."""

from netsim.policy.full import FullParticipation
from netsim.policy.independent import IndependentSampling
from netsim.policy.sampler import Drawn, Sampler
from netsim.policy.uniform import UniformSampling

SAMPLERS = {
    "full": FullParticipation,
    "independent": IndependentSampling,
    "uniform": UniformSampling,
}

__all__ = [
    "SAMPLERS",
    "Drawn",
    "FullParticipation",
    "IndependentSampling",
    "Sampler",
    "UniformSampling",
]

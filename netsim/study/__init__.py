"""What-if studies: many runs of one scenario, paired by seed, and what they show."""

from netsim.study.design import Combination, combinations
from netsim.study.record import Axis, StudyConfig, Variant, folder_name

__all__ = [
    "Axis",
    "Combination",
    "StudyConfig",
    "Variant",
    "combinations",
    "folder_name",
]

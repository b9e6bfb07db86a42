"""What-if studies: many runs of one scenario, paired by seed, and what they show."""

from netsim.study.design import Combination, combinations
from netsim.study.frames import Study, load_study
from netsim.study.record import Axis, StudyConfig, Variant, folder_name

__all__ = [
    "Axis",
    "Combination",
    "Study",
    "StudyConfig",
    "Variant",
    "combinations",
    "folder_name",
    "load_study",
]

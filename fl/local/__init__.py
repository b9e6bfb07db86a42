"""What clients do between download and upload: one strategy per file."""

from fl.local.dp_sgd import DPSGD
from fl.local.fedprox import FedProx
from fl.local.plain import Plain
from fl.local.scaffold import Scaffold
from fl.local.strategy import Cohort, Demands, LocalTraining

LOCAL_TRAININGS: dict[str, type[LocalTraining]] = {
    "dp-sgd": DPSGD,
    "fedprox": FedProx,
    "plain": Plain,
    "scaffold": Scaffold,
}

__all__ = ["LOCAL_TRAININGS", "Cohort", "Demands", "LocalTraining", "Plain"]

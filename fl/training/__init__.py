"""Many clients' adapters trained at once over one frozen base."""

from fl.cohort.core import CoreStack
from fl.cohort.rows import Rows
from fl.cohort.stack import Stack
from fl.cohort.switched import Switched

__all__ = ["CoreStack", "Rows", "Stack", "Switched"]

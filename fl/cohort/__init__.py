"""Many clients' adapters trained at once over one frozen base."""

from fl.cohort.rows import Rows
from fl.cohort.stack import Stack
from fl.cohort.switched import Switched

__all__ = ["Rows", "Stack", "Switched"]

"""Many clients' adapters trained at once over one frozen base."""

from fl.training.core import CoreStack
from fl.training.rows import Rows
from fl.training.stack import Stack
from fl.training.switched import Switched

__all__ = ["CoreStack", "Rows", "Stack", "Switched"]

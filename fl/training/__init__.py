"""Local training of many clients at once over one frozen base."""

from fl.training.core import CoreStack
from fl.training.stack import Stack
from fl.training.switched import Switched

__all__ = ["CoreStack", "Stack", "Switched"]

"""Local training of many clients at once over one frozen base."""

from fl.training.core import CoreStack
from fl.training.stack import Stack
from fl.training.switched import Switched
from fl.training.trainable_rows import Rows

__all__ = ["CoreStack", "Rows", "Stack", "Switched"]

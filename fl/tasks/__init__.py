"""Data sets and their metrics, one file per kind."""

from fl.tasks.digits import Digits
from fl.tasks.task import Split, Task

TASKS = {"digits": Digits}

__all__ = ["TASKS", "Digits", "Split", "Task"]

"""Data sets and their metrics, one file per kind."""

from fl.tasks.arithmetic import Arithmetic
from fl.tasks.digits import Digits
from fl.tasks.instruct import Instruct
from fl.tasks.synthetic import Synthetic
from fl.tasks.task import Objective, Quiz, Source, Split, Task, require_splits
from fl.tasks.text import Text
from fl.tasks.tokens import Tokenizer

TASKS = {
    "digits": Digits,
    "text": Text,
    "instruct": Instruct,
    "synthetic": Synthetic,
    "arithmetic": Arithmetic,
}

__all__ = [
    "TASKS",
    "Arithmetic",
    "Digits",
    "Instruct",
    "Objective",
    "Quiz",
    "Source",
    "Split",
    "Synthetic",
    "Task",
    "Text",
    "Tokenizer",
    "require_splits",
]

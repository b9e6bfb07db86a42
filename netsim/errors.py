"""The one error that a user's input can cause, and the end that a user can make."""

from typing import TypeAlias

# where in a scenario, and what is wrong there: several are told at once
Refusal: TypeAlias = tuple[tuple[str | int, ...], str]


class InputError(ValueError):
    """What the user wrote is wrong; ``str()`` is the whole message, line by line."""


class Interrupted(KeyboardInterrupt):
    """An interrupt after which the user was told how to go on."""

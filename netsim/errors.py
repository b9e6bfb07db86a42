"""The error for wrong input, and the interrupt that a user causes."""

from typing import TypeAlias

# the path of a setting and the message about it; a check reports all of them
Refusal: TypeAlias = tuple[tuple[str | int, ...], str]


class InputError(ValueError):
    """The user's input is wrong; ``str()`` is the whole message, one line per error."""


class Interrupted(KeyboardInterrupt):
    """An interrupt whose message explains how to continue the work."""

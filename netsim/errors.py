"""The one error that a user's input can cause, and the end that a user can make."""


class InputError(ValueError):
    """What the user wrote is wrong; ``str()`` is the whole message, line by line."""


class Interrupted(KeyboardInterrupt):
    """An interrupt after which the user was told how to go on."""

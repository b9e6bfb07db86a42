"""The one error that a user's input can cause."""


class InputError(ValueError):
    """What the user wrote is wrong; ``str()`` is the whole message, line by line."""

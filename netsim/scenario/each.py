"""A setting with one value for all clients, or a list with one for each."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Discriminator, Tag

Value = TypeVar("Value")


def _form(value: object) -> str:
    return "each" if isinstance(value, tuple | list) else "all"


OneOrEach = Annotated[
    Annotated[Value, Tag("all")] | Annotated[tuple[Value, ...], Tag("each")],
    Discriminator(_form),
]


def is_listed(value: object) -> bool:
    """Return whether each client has a value of its own."""
    return isinstance(value, tuple)


def of_client(value: Value | tuple[Value, ...], client_id: int) -> Value:
    """Return the value for one client."""
    return value[client_id] if isinstance(value, tuple) else value


def wrong_count(value: object, num_clients: int) -> str:
    """Return an error message if a list does not have one value for each client, else
    an empty string."""
    if not isinstance(value, tuple) or len(value) == num_clients:
        return ""
    return (
        f"lists {len(value)} values for {num_clients} clients; give one for all or one"
        " for each"
    )

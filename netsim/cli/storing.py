"""``netsim store``: what finished learning is remembered."""

from __future__ import annotations

import typer

from netsim.core.quantities import QUANTITIES, format_quantity
from netsim.cosim.commands.store import prune_store, store_size


def store_command(limit: str | None) -> None:
    """Prune the store to ``limit``, if one is given, and show its size."""
    if limit is not None:
        prune_store(int(QUANTITIES["B"].parse(limit)))
    size = store_size()
    typer.echo(f"folder   {size.folder}")
    typer.echo(f"entries  {size.num_entries}")
    typer.echo(f"size     {format_quantity(size.num_bytes, 'B')}")
    typer.echo(
        f"limit    {format_quantity(size.limit_bytes, 'B')}, oldest used go first"
    )

"""``netsim store``: what finished learning is remembered."""

from __future__ import annotations

from typing import Annotated

import typer

from netsim.core.quantities import QUANTITIES, format_quantity
from netsim.cosim.commands.store import prune_store, store_size


def store(
    limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Prune to this size, as '1 GB'.")
    ] = None,
    clear: Annotated[bool, typer.Option(help="Forget everything.")] = False,
) -> None:
    """Show what finished learning is remembered, and prune it."""
    if clear:
        prune_store(0)
    elif limit is not None:
        prune_store(int(QUANTITIES["B"].parse(limit)))
    size = store_size()
    typer.echo(f"folder   {size.folder}")
    typer.echo(f"entries  {size.num_entries}")
    typer.echo(f"size     {format_quantity(size.num_bytes, 'B')}")
    typer.echo(
        f"limit    {format_quantity(size.limit_bytes, 'B')}, oldest used go first"
    )

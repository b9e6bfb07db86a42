"""The ``netsim`` command."""

from netsim.cli.main import main

__all__ = ["main"]

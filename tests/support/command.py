"""The command line, called in this process."""

import sys

from netsim.cli import main


def netsim(*args):
    """Run the command in this process; return its exit code."""
    before = sys.argv
    sys.argv = ["netsim", *map(str, args)]
    try:
        main()
    except SystemExit as stop:
        return stop.code or 0
    finally:
        sys.argv = before
    return 0

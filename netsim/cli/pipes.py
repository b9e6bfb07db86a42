"""A reader that goes away, as with ``| head -1``: what it leaves is not written."""

from __future__ import annotations

import io
import os
import stat
import sys


class Output(io.TextIOWrapper):
    """Standard output whose reader may go away: the rest is dropped, work goes on."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            return self._drop(len(text))

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._drop(0)

    def _drop(self, length: int) -> int:
        """Let everything from here on go nowhere, and return ``length``."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return length


def outlast_the_reader() -> None:
    """Make standard output one that outlasts its reader, where it is a pipe."""
    out = sys.stdout
    if not isinstance(out, io.TextIOWrapper):
        return
    try:
        mode = os.fstat(out.fileno()).st_mode
    except OSError:  # of no file, as in a test
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return
    encoding, errors = out.encoding, out.errors
    is_by_line = out.line_buffering
    out.flush()
    sys.stdout = Output(
        out.detach(), encoding=encoding, errors=errors, line_buffering=is_by_line
    )

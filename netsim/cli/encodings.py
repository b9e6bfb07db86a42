"""Text for terminals of any encoding: what one cannot show becomes what it can."""

from __future__ import annotations

import codecs
import io
import sys

PLAIN = {"·": "-", "…": "...", "±": "+-", "→": "->"}
_ERRORS = "netsim.plain"
_ESCAPED = range(0xDC80, 0xDD00)  # a byte of a path that is not UTF-8


def write_anywhere() -> None:
    """Let standard output and errors replace what their encoding has not."""
    codecs.register_error(_ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written for characters that an encoding has not; who reads the
    stream again, as a test does, gets a mark for bytes that are none of it."""
    if not isinstance(error, UnicodeEncodeError):
        return codecs.replace_errors(error)
    refused = error.object[error.start : error.end]
    return b"".join(map(_bytes_of, refused)), error.end


def _bytes_of(character: str) -> bytes:
    if ord(character) in _ESCAPED:
        return bytes([ord(character) - 0xDC00])
    return PLAIN.get(character, "?").encode()

"""PEFT's patterns of module names, matched in bounded time.

A pattern of an adapter from elsewhere is a regular expression, which in the worst case
takes time exponential in the name's length. Here repeats stand on single characters
only, and their number and that of alternatives are bounded.
"""

from __future__ import annotations

import math
import re

MAX_STEPS = 2_000_000  # of one match, at worst
MAX_CHARS = 2_000
_TOKEN = re.compile(
    r"(?P<literal>\\[^0-9]|[^\\\[\](){}*+?|]|\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<repeat>[*+]\??|\{[0-9]*,?[0-9]*\}\??)"
    r"|(?P<maybe>\?)|(?P<open>\((?:\?:)?)|(?P<close>\))|(?P<or>\|)",
    re.DOTALL,
)


def matches(pattern: str, module: str) -> bool:
    """Return whether PEFT's pattern, of a whole name or of its end, matches a module;
    raise ``ValueError`` for one that is invalid or may take too long."""
    repeats, alternatives = _shape(pattern)
    repeats += 1  # PEFT's own prefix
    steps = math.comb(len(module) + repeats, repeats) * alternatives
    if steps > MAX_STEPS:
        raise ValueError(f"pattern {_shown(pattern)} may take too long: simplify it")
    try:
        return re.match(rf"(.*\.)?({pattern})$", module) is not None
    except re.error as error:
        raise ValueError(f"pattern {_shown(pattern)} is invalid: {error}") from error


def _shape(pattern: str) -> tuple[int, int]:
    """Return how many repeats a pattern has, and in how many ways its alternatives can
    be chosen."""
    if len(pattern) > MAX_CHARS:
        raise ValueError(f"pattern {_shown(pattern)} is longer than {MAX_CHARS}")
    repeats, ways, place, closed = 0, 1, 0, False
    bars = [0]
    while place < len(pattern):
        token = _TOKEN.match(pattern, place)
        what = token.lastgroup if token else None
        if token is None or (what == "repeat" and closed):
            raise ValueError(
                f"pattern {_shown(pattern)} is not supported: names, character sets, "
                "alternatives, and repeats of single characters are"
            )
        place, closed = token.end(), what == "close"
        if what == "repeat":
            repeats += 1
        elif what == "maybe":
            ways *= 2
        elif what == "open":
            bars.append(0)
        elif what == "or":
            bars[-1] += 1
        elif what == "close" and len(bars) > 1:
            ways *= bars.pop() + 1
    return repeats, ways * (bars[0] + 1)


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else f"{pattern[:57]}...")

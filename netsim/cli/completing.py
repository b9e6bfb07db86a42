"""What a shell completes: scenarios, settings, and kinds, those installed included.

Each function returns the words that go on with what was typed; modules of the package
are imported when a shell asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def scenarios(incomplete: str) -> list[str]:
    """Return the shipped scenarios, and the YAML files of the current directory."""
    from netsim.cosim import shipped

    known = [*shipped.names(), *shipped.names(shipped.TESTBEDS)]
    return _matching(incomplete, [*known, *map(str, sorted(Path().glob("*.y*ml")))])


def methods(incomplete: str) -> list[str]:
    """Return the merges of a list with commas, shipped and installed."""
    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{one}" for one in _matching(last, _kinds()["aggregation"])]


def seams(incomplete: str) -> list[str]:
    """Return the names of the seams."""
    return _matching(incomplete, _kinds())


def plug_ins(incomplete: str) -> list[str]:
    """Return the kinds of installed plug-ins."""
    from netsim.scenario.installed import installed

    return _matching(
        incomplete, (kind for seam in _kinds() for kind in installed(seam))
    )


def setting_paths(incomplete: str) -> list[str]:
    """Return the paths of a scenario that choose a kind."""
    from netsim.cosim.commands.choices import SEAMS

    return _matching(incomplete, (seam.path for seam in SEAMS))


def settings(incomplete: str) -> list[str]:
    """Return the paths of a scenario that choose a kind; with the kinds of each where
    one path is left, since a shell may take ``=`` for the end of a word."""
    from netsim.cosim.commands.choices import SEAMS

    paths = {seam.path: seam.name for seam in SEAMS}
    path = incomplete.partition("=")[0]
    left = [path] if path in paths else _matching(path, paths)
    if len(left) != 1:
        return [f"{one}=" for one in left]
    return _matching(incomplete, (f"{left[0]}={k}" for k in _kinds()[paths[left[0]]]))


def _kinds() -> dict[str, list[str]]:
    """Return the kinds of each seam, shipped and installed."""
    from netsim.cosim.commands.choices import SEAMS
    from netsim.scenario.installed import installed

    return {seam.name: [*seam.choices, *installed(seam.name)] for seam in SEAMS}


def _matching(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]

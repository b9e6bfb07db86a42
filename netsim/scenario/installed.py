"""Plug-ins of installed packages, by their entry points; none is imported to be named.

A package declares ``[project.entry-points."netsim.plugins"]`` with lines such as
``"sharing.root-weighted" = "package.module:Class"``: the seam, a dot, and the kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from netsim.errors import InputError

GROUP = "netsim.plugins"


def installed(seam: str) -> Mapping[str, str]:
    """Return ``module:Class`` of the installed plug-ins of a seam, by their kinds."""
    found: dict[str, EntryPoint] = {}
    for one in entry_points(group=GROUP):
        named, _, kind = one.name.partition(".")
        if named != seam or not kind:
            continue
        other = found.setdefault(kind, one)
        if other.value != one.value:
            raise InputError(
                f"{one.name}: {_package(other)} and {_package(one)} install a plug-in "
                f"of this name; choose {other.value} or {one.value} by module:Class"
            )
    return {kind: one.value for kind, one in sorted(found.items())}


def of_no_seam(seams: set[str]) -> list[EntryPoint]:
    """Return the entry points whose names begin with no known seam."""
    found = entry_points(group=GROUP)
    return [one for one in found if one.name.partition(".")[0] not in seams]


def _package(one: EntryPoint) -> str:
    return "a package" if one.dist is None else one.dist.name

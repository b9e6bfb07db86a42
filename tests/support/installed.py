"""A package with entry points, as an installer lays it out."""

import importlib


def lay_out(site, name, modules, entries):
    """Write a package's modules and its metadata into a folder of Python's path."""
    for path, text in modules.items():
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    (info / "METADATA").write_text(head)
    lines = [f"{kind} = {place}" for kind, place in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[netsim.plugins]", *lines, ""]))
    importlib.invalidate_caches()

"""Runs and modules made to harm their reader; every hash and digest fits."""

import sys
from contextlib import contextmanager

from netsim.core.files import file_sha256
from netsim.runs.manifest import read_manifest

TRAP = """
from pathlib import Path
from typing import ClassVar

from netsim.availability import Always

Path({marker!r}).write_text("this ran")


class X(Always):
    kind: ClassVar[str] = "evil"
"""


def set_trap(folder, marker, name="evil"):
    """Write a module that leaves a marker where it is imported."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(TRAP.format(marker=str(marker)))


def seal(folder):
    """Give a run's manifest the digest of its scenario as it is now."""
    digest = file_sha256(folder / "scenario.yaml")
    manifest = read_manifest(folder)
    manifest.model_copy(update={"scenario_digest": digest}).write(folder)


@contextmanager
def unloaded(*names):
    """Forget modules, before and after."""
    for name in names:
        sys.modules.pop(name, None)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)

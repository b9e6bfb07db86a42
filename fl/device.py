"""Where the model computes: one name, resolved without torch where that is possible."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

from pydantic import Field

DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|[a-z]+(:\d+)?)$")]

# Without any of these a machine has no accelerator that torch could use.
DRIVERS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/kfd", "/dev/dri", "/dev/dxg")


def resolved(name: str) -> str:
    """Return the device of a name: ``auto`` is the accelerator, if there is one.

    Raises ``ValueError`` where this machine has no such device; nothing falls back.
    """
    if name == "cpu" or (name == "auto" and not _may_have_accelerator()):
        return "cpu"
    found = _available()
    if name == "auto":
        return found[0] if found else "cpu"
    wanted = name if ":" in name else f"{name}:0"
    if wanted not in found:
        has = ", ".join(["auto", "cpu", *found])
        raise ValueError(f"this machine has no device {name!r} (it has {has})")
    return wanted


def _may_have_accelerator() -> bool:
    """Return whether it is worth to ask torch."""
    if platform.system() != "Linux":
        return True
    return any(Path(driver).exists() for driver in DRIVERS)


def _available() -> list[str]:
    """Return every accelerator that torch can compute on."""
    import torch

    kind = torch.accelerator.current_accelerator(check_available=True)
    if kind is None:
        return []
    return [f"{kind.type}:{i}" for i in range(torch.accelerator.device_count())]

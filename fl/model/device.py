"""Where the model computes: a name, resolved without importing torch."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated

from pydantic import Field

DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|[a-z]+(:\d+)?)$")]
NVIDIA = Path("/proc/driver/nvidia/gpus")  # one folder for each
WSL, AMD, INTEL = Path("/dev/dxg"), Path("/dev/kfd"), Path("/dev/dri")


class Unusable(ValueError):
    """An accelerator that should be there and that torch cannot compute on."""


def resolved(name: str) -> str:
    """Return the device of a name: ``auto`` is the accelerator, if there is one.

    What the installed torch is built for and the system's drivers tell; the model is
    put there or the run is refused (``require``), and nothing falls back. Raises
    ``ValueError`` where this machine has no such device.
    """
    found = accelerators()
    if name in ("auto", "cpu"):
        return found[0] if found and name == "auto" else "cpu"
    wanted = name if ":" in name else f"{name}:0"
    if wanted not in found:
        has = ", ".join(["auto", "cpu", *found])
        raise ValueError(f"this machine has no device {name!r} (it has {has})")
    return wanted


def accelerators() -> list[str]:
    """Return the accelerators that this machine and its torch should have."""
    build = _torch_build()
    if platform.system() == "Darwin":
        return ["mps:0"] if platform.machine() == "arm64" else []
    if build == "cpu":
        return []
    if build.startswith("rocm"):
        return ["cuda:0"] if AMD.exists() else []
    if build.startswith("xpu"):
        return ["xpu:0"] if INTEL.exists() else []
    num_nvidia = len(list(NVIDIA.iterdir())) if NVIDIA.is_dir() else int(WSL.exists())
    return [f"cuda:{i}" for i in range(num_nvidia)]


def _torch_build() -> str:
    """Return what the installed torch is built for, if its version says it."""
    return metadata.version("torch").partition("+")[2]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that no more memory was to be had."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(word in text for word in words)


def require(device: str) -> None:
    """Raise ``Unusable`` where torch cannot compute on an accelerator."""
    import torch

    kind, _, index = device.partition(":")
    if kind == "cpu":
        return
    found = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if found is not None else 0
    if found is None or found.type != kind or int(index or 0) >= count:
        raise Unusable(
            f"torch cannot compute on {device}: see that its build and the driver fit "
            "each other, or set it to cpu"
        )

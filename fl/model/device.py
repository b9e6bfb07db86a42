"""The device on which the model computes, resolved without importing torch."""

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
    """An accelerator of this machine on which torch cannot compute."""


def numbers_at_once(device_type: str) -> int:
    """Return the most numbers of a layer's output, positions x width, that a pass
    through the model should compute.

    Measured on one core (tests/benchmarks/training.py): a pass is fastest while they
    fit into the second-level cache (768 kB in float32). The figure for accelerators is
    assumed.
    """
    return 196_608 if device_type == "cpu" else 2**26


def resolved(name: str) -> str:
    """Return the device of a name; ``auto`` is the accelerator if there is one.

    The installed torch build and the system's drivers decide. There is no fallback: if
    torch cannot use the device, ``require`` refuses the run. Raises ``ValueError`` if
    this machine has no such device.
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
    """Return the accelerators that the drivers and the torch build promise."""
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
    """Return the platform of the installed torch build, if its version names it."""
    return metadata.version("torch").partition("+")[2]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is exhausted."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(word in text for word in words)


def require(device: str) -> None:
    """Raise ``Unusable`` if torch cannot compute on this device."""
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

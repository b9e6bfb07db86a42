"""Devices whose speed was fitted to published step times, each with its program.

The figures are those of ``fitting.fit`` on a group of ``observations.csv``; the tests
fit them again. Peak is the rate that training reaches. A program of another kind on the
same device is up to five times slower or faster.
"""

from __future__ import annotations

from typing import NamedTuple

from netsim.devices.device import Device

_GB = 10**9
SPREAD_OF_BOARDS = 1.25  # three equal boards differ by 24 %
SPREAD_OF_PHONES = 1.05  # five equal phones differ by 2.5 %


class Fitted(NamedTuple):
    """A group of observations, ``only`` those settings that have this text, and the
    device fitted to them."""

    name: str
    group: str
    flop_per_s: float
    fixed_s: float
    num_settings: int
    doubt: float
    memory_gb: int
    powers_w: tuple[float, float]  # compute and idle, both assumed
    hardware: str
    software: str
    only: str = ""

    def device(self) -> Device:
        """Return the device."""
        is_fitted = self.num_settings > 1
        count = f"{self.num_settings} settings" if is_fitted else "one setting"
        return Device(
            name=self.name,
            peak_flop_per_s=self.flop_per_s,
            efficiency=1.0,
            fixed_time_s=self.fixed_s,
            memory_bytes=self.memory_gb * _GB,
            compute_power_w=self.powers_w[0],
            idle_power_w=self.powers_w[1],
            software=self.software,
            basis="fitted" if is_fitted else "measured",
            doubt=self.doubt,
            source=(
                f"{self.hardware}; {count} of the observations {self.group!r}, whose "
                "sources are in netsim/devices/observations.csv; both powers assumed"
            ),
        )


FITTED = (
    Fitted(
        *("hi-nova-9-pro-mobilefinetuner", "sd778g", 3.206e9, 0.0, 1, SPREAD_OF_PHONES),
        *(8, (5.0, 1.0), "Snapdragon 778G, CPU"),
        "MobileFineTuner C++ client in EdgeFlowerTune, float32, April 2026",
    ),
    Fitted(
        *("hi-nova-9-pro-mobilefinetuner-early", "sd778g-early", 5.754e8, 0.0, 1),
        *(SPREAD_OF_BOARDS, 8, (5.0, 1.0), "Snapdragon 778G, CPU"),
        "EdgeFlowerTune C++ client, an earlier build, float32, texts of 128 tokens",
    ),
    Fitted(
        *("jetson-nano-edgeflowertune", "jetson-nano", 4.412e10, 0.0, 1),
        *(SPREAD_OF_BOARDS, 4, (10.0, 1.5), "Jetson Nano developer kit, 4 GB"),
        "EdgeFlowerTune worker, float32, April 2026",
    ),
    Fitted(
        *("raspberry-pi-4-fedadapter", "rpi-4-distilbert", 1.478e10, 0.0, 16, 1.06),
        *(8, (6.5, 2.7), "Raspberry Pi 4 Model B"),
        "FedAdapter, PyTorch, float32, texts",
    ),
    Fitted(
        *("raspberry-pi-4-timm", "rpi-4-vit", 2.738e10, 1.048, 12, 1.29, 8),
        *((6.5, 2.7), "Raspberry Pi 4 Model B, 8 GB"),
        "PyTorch with timm, float32, images",
    ),
    Fitted(
        *("raspberry-pi-5-timm", "rpi-5-vit", 6.425e10, 0.7273, 6, 1.60, 8),
        *((11.0, 3.5), "Raspberry Pi 5, 8 GB"),
        "PyTorch with timm, float32, images, December 2023",
    ),
    Fitted(
        *("jetson-tx2-fedadapter", "jetson-tx2", 3.251e11, 0.0, 26, 1.02, 8),
        *((15.0, 3.0), "Jetson TX2"),
        "FedAdapter, PyTorch, float32, texts",
    ),
    Fitted(
        *("galaxy-s25-qvac", "qvac-bitnet-Adreno", 3.533e10, 0.0, 6, 1.05, 12),
        *((5.0, 1.0), "Samsung Galaxy S25, Adreno 830"),
        "llama.cpp of QVAC, Vulkan, ternary base, January 2026",
    ),
    Fitted(
        *("pixel-9-qvac", "qvac-bitnet-Mali", 2.249e10, 0.0, 7, 1.21, 12),
        *((5.0, 1.0), "Google Pixel 9, Mali-G715"),
        "llama.cpp of QVAC, Vulkan, ternary base, January 2026",
    ),
    Fitted(
        *("iphone-16-qvac", "qvac-bitnet-iPhone", 2.668e10, 0.0, 8, 1.26, 8),
        *((5.0, 1.0), "Apple iPhone 16, A18 GPU"),
        "llama.cpp of QVAC, Metal, ternary base, January 2026",
    ),
    Fitted(
        *("macbook-m3-pro-qvac", "qvac-bitnet-M3Pro", 7.596e11, 1.062, 8, 1.31, 36),
        *((40.0, 5.0), "MacBook Pro M3 Pro, 18-core GPU"),
        "llama.cpp of QVAC, Metal, ternary base, January 2026",
    ),
    Fitted(
        *("rtx-4090-qvac", "qvac-bitnet-4090", 1.265e12, 0.2311, 8, 1.57, 24),
        *((450.0, 20.0), "NVIDIA RTX 4090"),
        "llama.cpp of QVAC, Vulkan, ternary base, January 2026",
    ),
    Fitted(
        *("a100-qwen", "a100-qwen", 1.057e14, 0.7003, 18, 1.29, 80),
        *((400.0, 60.0), "NVIDIA A100 80 GB"),
        "Qwen's training script, LoRA, bfloat16",
        only=", lora, ",
    ),
    Fitted(
        *("nvidia-t4-pytorch", "t4", 3.233e12, 0.0, 3, 1.25, 16),
        *((70.0, 10.0), "NVIDIA T4"),
        "PyTorch, BERT-base, float32",
    ),
)

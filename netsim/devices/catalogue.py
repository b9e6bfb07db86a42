"""Real devices with the sources of their figures, and mixes of devices.

Peak is the vendor's single-precision figure without tensor cores, or cores x lanes x
clock where the vendor gives none. *Efficiency is our assumption*, stated per device; it
was measured on none of them. It is the fraction of peak that dense solvers and matrix
products reach on that hardware (Raspberry Pi 5: 30.2 of 76.8 GFLOP/s in double
precision under HPL, 39 %, at 11 W, geerlingguy/top500-benchmark issue 18), reduced for
small batches and memory traffic; large-scale training reports 21 to 46 % (PaLM, arXiv
2204.02311, Table 3). Powers are assumptions too, but for
two that say ``power_basis``. ``doubt`` covers the published
step times of the same or a like device (``observations.csv``): phones are up to 50
times slower than assumed here; 3 where there is none. Prefer a device of ``fitted.py``,
or measure your own with ``netsim calibrate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, ValidationInfo

from netsim.core.quantities import closest
from netsim.devices.device import Device
from netsim.devices.device_file import PATTERN, SUFFIXES, read_device
from netsim.devices.fitted import FITTED
from netsim.scenario.record import Record

_GB = 10**9

_CATALOGUE = (
    Device(
        name="raspberry-pi-4",
        doubt=1.7,
        peak_flop_per_s=57.6e9,
        efficiency=0.30,
        memory_bytes=8 * _GB,
        compute_power_w=6.5,
        idle_power_w=2.7,
        source=(
            "4 Cortex-A72 at 1.8 GHz (Raspberry Pi 4 Model B product brief), each"
            " with one 128-bit FMA per cycle (Arm Cortex-A72 Software Optimization"
            " Guide: SIMD multiplication on one of two pipes): 8 FLOP per cycle;"
            " efficiency, both powers assumed"
        ),
    ),
    Device(
        name="raspberry-pi-5",
        doubt=1.6,
        peak_flop_per_s=153.6e9,
        efficiency=0.30,
        memory_bytes=8 * _GB,
        compute_power_w=11.0,
        idle_power_w=3.5,
        source=(
            "4 Cortex-A76 at 2.4 GHz (Raspberry Pi 5 product brief), each with two"
            " 128-bit FMA pipes (Arm Cortex-A76 Software Optimization Guide): 16 FLOP"
            " per cycle; power under HPL from geerlingguy/top500-benchmark issue 18;"
            " efficiency, idle power assumed"
        ),
    ),
    Device(
        name="jetson-nano",
        doubt=2.1,
        peak_flop_per_s=236e9,
        efficiency=0.35,
        memory_bytes=4 * _GB,
        compute_power_w=10.0,
        idle_power_w=1.5,
        source=(
            "NVIDIA Jetson Nano module data sheet: 472 GFLOP/s in half precision, half"
            " that in single (128 Maxwell cores at 921.6 MHz); 10 W mode; efficiency,"
            " idle power assumed"
        ),
    ),
    Device(
        name="jetson-tx2",
        doubt=1.5,
        peak_flop_per_s=665.6e9,
        efficiency=0.35,
        memory_bytes=8 * _GB,
        compute_power_w=15.0,
        idle_power_w=3.0,
        source=(
            "NVIDIA Jetson TX2 module data sheet: 1.33 TFLOPs in half precision, half"
            " that in single (256 Pascal cores at 1.3 GHz); 15 W mode; efficiency,"
            " idle power assumed"
        ),
    ),
    Device(
        name="jetson-xavier-nx-8gb",
        doubt=3,
        peak_flop_per_s=844.8e9,
        efficiency=0.35,
        memory_bytes=8 * _GB,
        compute_power_w=13.8,
        idle_power_w=4.0,
        power_basis="measured",
        source=(
            "NVIDIA Jetson Xavier NX module data sheet: 384 Volta cores at 1100 MHz;"
            " mean power of two models in observations.csv; efficiency (without tensor"
            " cores), idle power assumed"
        ),
    ),
    Device(
        name="jetson-agx-xavier-32gb",
        doubt=3,
        peak_flop_per_s=1.41e12,
        efficiency=0.35,
        memory_bytes=32 * _GB,
        compute_power_w=30.0,
        idle_power_w=8.0,
        source=(
            "NVIDIA Jetson AGX Xavier Series data sheet: 512 Volta cores at 1377 MHz;"
            " 30 W mode; efficiency (without tensor cores), idle power assumed"
        ),
    ),
    Device(
        name="jetson-orin-nano-8gb",
        doubt=3,
        peak_flop_per_s=1.28e12,
        efficiency=0.35,
        memory_bytes=8 * _GB,
        compute_power_w=11.1,
        idle_power_w=5.0,
        power_basis="measured",
        source=(
            "NVIDIA Jetson Orin Nano Series data sheet DS-11105-001: 1.28 FP32 TFLOPs"
            " (1024 CUDA cores at 625 MHz); mean power of two models in"
            " observations.csv; efficiency, idle power assumed"
        ),
    ),
    Device(
        name="jetson-agx-orin-64gb",
        doubt=3,
        peak_flop_per_s=5.3e12,
        efficiency=0.35,
        memory_bytes=64 * _GB,
        compute_power_w=60.0,
        idle_power_w=10.0,
        source=(
            "NVIDIA Jetson AGX Orin Series technical brief TB-10749-001 v1.2: 5.3 FP32"
            " TFLOPs (2048 CUDA cores at 1.3 GHz); 60 W mode; efficiency, idle power"
            " assumed"
        ),
    ),
    Device(
        name="galaxy-s21",
        doubt=50,
        peak_flop_per_s=765e9,
        efficiency=0.20,
        memory_bytes=8 * _GB,
        compute_power_w=5.0,
        idle_power_w=1.0,
        source=(
            "Samsung Exynos 2100: Mali-G78 with 14 cores (Samsung's product page) at"
            " 854 MHz (as reported by reviewers), 32 FMA per core and cycle (Arm GPU"
            " data sheet); efficiency (sustained, a phone throttles), both powers"
            " assumed"
        ),
    ),
    Device(
        name="pixel-7",
        doubt=50,
        peak_flop_per_s=760e9,
        efficiency=0.20,
        memory_bytes=8 * _GB,
        compute_power_w=5.0,
        idle_power_w=1.0,
        source=(
            "Google Tensor G2: Mali-G710 with 7 cores at 848 MHz, 64 FMA per core and"
            " cycle (Arm GPU data sheet); efficiency (sustained, a phone throttles),"
            " both powers assumed"
        ),
    ),
    Device(
        name="pixel-8",
        doubt=30,
        peak_flop_per_s=1.59e12,
        efficiency=0.15,
        memory_bytes=8 * _GB,
        compute_power_w=5.0,
        idle_power_w=1.0,
        source=(
            "Google Tensor G3: Mali-G715 with 7 cores at 890 MHz (as reported by"
            " reviewers), 128 FMA per core and cycle (Arm GPU data sheet); efficiency"
            " (sustained, a phone throttles, the more the higher its peak), both"
            " powers assumed"
        ),
    ),
    Device(
        name="laptop-core-i7-1165g7",
        doubt=3,
        peak_flop_per_s=358.4e9,
        efficiency=0.40,
        memory_bytes=16 * _GB,
        compute_power_w=28.0,
        idle_power_w=6.0,
        source=(
            "Intel ARK: 4 cores, 2.8 GHz at a TDP of 28 W; two 256-bit FMA pipes per"
            " core (Intel 64 Optimization Reference Manual): 32 FLOP per cycle; no"
            " graphics; efficiency (dense products on CPUs run near peak, training"
            " less), idle power assumed"
        ),
    ),
    Device(
        name="apple-m1",
        doubt=1.9,
        peak_flop_per_s=2.6e12,
        efficiency=0.35,
        memory_bytes=8 * _GB,
        compute_power_w=15.0,
        idle_power_w=4.0,
        source=(
            "Apple in November 2020: 2.6 teraflops, 8-core GPU, from 8 GB of unified"
            " memory; efficiency, both powers assumed"
        ),
    ),
    Device(
        name="apple-m2",
        doubt=3,
        peak_flop_per_s=3.6e12,
        efficiency=0.35,
        memory_bytes=8 * _GB,
        compute_power_w=20.0,
        idle_power_w=4.0,
        source=(
            "Apple at WWDC 2022: 3.6 teraflops, 10-core GPU, from 8 GB of unified"
            " memory; efficiency, both powers assumed"
        ),
    ),
    Device(
        name="laptop-rtx-4060",
        doubt=3,
        peak_flop_per_s=14.56e12,
        efficiency=0.35,
        memory_bytes=8 * _GB,
        compute_power_w=115.0,
        idle_power_w=15.0,
        source=(
            "NVIDIA GeForce RTX 4060 Laptop GPU specifications: 3072 CUDA cores,"
            " boost clock up to 2370 MHz at 115 W, 8 GB GDDR6 (the GPU, not its host);"
            " efficiency, idle power assumed"
        ),
    ),
    Device(
        name="nvidia-a2",
        doubt=3,
        peak_flop_per_s=4.5e12,
        efficiency=0.40,
        memory_bytes=16 * _GB,
        compute_power_w=60.0,
        idle_power_w=8.0,
        source=(
            "NVIDIA A2 data sheet: 4.5 TFLOPS FP32, 16 GB GDDR6, 40 to 60 W, for"
            " servers at the edge (the card, not its host); efficiency, idle power"
            " assumed"
        ),
    ),
    Device(
        name="nvidia-t4",
        doubt=1.25,
        peak_flop_per_s=8.1e12,
        efficiency=0.40,
        memory_bytes=16 * _GB,
        compute_power_w=70.0,
        idle_power_w=10.0,
        source=(
            "NVIDIA T4 data sheet: 8.1 TFLOPS in single precision, 16 GB GDDR6, 70 W"
            " (the card, not its host); efficiency, idle power assumed"
        ),
    ),
    Device(
        name="nvidia-l4",
        doubt=2.7,
        peak_flop_per_s=30.3e12,
        efficiency=0.35,
        memory_bytes=24 * _GB,
        compute_power_w=72.0,
        idle_power_w=16.0,
        source=(
            "NVIDIA L4 data sheet: 30.3 teraFLOPs FP32, 24 GB, 72 W (the card, not its"
            " host); efficiency, idle power assumed"
        ),
    ),
    Device(
        name="edge-server-a10",
        doubt=2.7,
        peak_flop_per_s=31.2e12,
        efficiency=0.35,
        memory_bytes=24 * _GB,
        compute_power_w=350.0,
        idle_power_w=120.0,
        source=(
            "NVIDIA A10 data sheet: 31.2 TFLOPS FP32, 24 GB GDDR6, 150 W, in a server"
            " of one socket that takes 200 W more at work and 120 W in all when idle"
            " (assumed); efficiency assumed"
        ),
    ),
)

DEVICES: Mapping[str, Device] = MappingProxyType(
    {one.name: one for one in (*_CATALOGUE, *(row.device() for row in FITTED))}
)


def _resolve(device: object, info: ValidationInfo) -> object:
    """Return the device of a catalogue name or of a file in the scenario's folder;
    pydantic validates anything else as a device."""
    if not isinstance(device, str):
        return device
    if device.endswith(SUFFIXES):
        folder = (info.context or {}).get("folder") or Path()
        return read_device(folder / Path(device).expanduser())
    if device not in DEVICES:
        near = closest(device, DEVICES)
        hint = f"did you mean {near!r}? " if near else ""
        known = ", ".join(sorted(DEVICES))
        raise ValueError(
            f"must be a device, the name of one or a .yaml file, got {device!r};"
            f" {hint}(devices: {known})"
        )
    return DEVICES[device]


class DeviceChoice(Record):
    """A device and its share of the population. The device is a name of the catalogue,
    a file of ``netsim calibrate`` (relative to the scenario), or its fields."""

    device: Annotated[
        Device,
        BeforeValidator(
            _resolve,
            json_schema_input_type=Literal[tuple(sorted(DEVICES))]
            | Annotated[str, Field(pattern=PATTERN)]
            | Device,
        ),
    ]
    share: float = Field(default=1.0, gt=0)


class DeviceMix(Record):
    """The devices of a population; the shares are normalised to sum one."""

    choices: tuple[DeviceChoice, ...] = Field(min_length=1)

    @property
    def devices(self) -> tuple[Device, ...]:
        """Return the devices that ``draw`` indexes."""
        return tuple(choice.device for choice in self.choices)

    def draw(self, num_clients: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Return each client's index into ``devices``, drawn independently with the
        shares as probabilities; another client changes no earlier draw."""
        bounds = list(accumulate(choice.share for choice in self.choices))
        inner = np.array(bounds[:-1]) / bounds[-1]
        return np.searchsorted(inner, rng.random(num_clients), side="right")

"""Seconds and errors of every merge, beside dense solvers, and of a whole adapter set.

    OMP_NUM_THREADS=1 python tests/benchmarks/merging.py [--quick]

Components are one start plus drift, in float32. The dense rivals form W*: an SVD of it,
and gradient steps by autograd on the scalars of FLoRA-NA as its paper has them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from fl.aggregation import (
    FedExLora,
    FedIT,
    FedSALora,
    FedSB,
    FedSVD,
    FFALora,
    FlexLora,
    FloraNA,
    FloraNAAdam,
    FloraStacking,
    Florist,
    FreeALS,
    FSLora,
    FullAverage,
    HetLora,
    LayerComponents,
    LoraFair,
    Pair,
    Residual,
    RoLora,
    ThinSVD,
)

T = TypeVar("T")
NUM_STEPS = 100  # of the dense autograd solver
NUM_TIMED_STEPS = 3
DRIFT = 0.3
METHODS = [
    FedIT(),
    FloraNA(),
    FloraNAAdam(num_steps=NUM_STEPS),
    FreeALS(),
    LoraFair(),
    ThinSVD(),
    FlexLora(),
    Florist(),
    HetLora(),
    FSLora(),
    FloraStacking(),
    FedExLora(),
    Residual(),
    FullAverage(),
    FedSALora(),
]
FROZEN_A = [FFALora(), RoLora(), FedSVD(), FedSB()]


def components(
    num: int, m: int, n: int, rank: int, *, seed: int = 0, frozen_a: bool = False
) -> LayerComponents:
    """Return components of unequal weights around one start."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    b, a = drawn(m, rank), drawn(rank, n)
    raw = [1 + 0.5 * (index % 3) for index in range(num)]
    pairs = tuple(
        Pair(
            b + DRIFT * drawn(m, rank),
            a if frozen_a else a + DRIFT * drawn(rank, n),
        )
        for _ in raw
    )
    return LayerComponents(pairs, tuple(w / sum(raw) for w in raw), Pair(b, a))


def timed(work: Callable[[], T], *, repeats: int = 1) -> tuple[float, T]:
    """Return the least wall time of some repeats in seconds, and the last result."""
    times = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start_s)
    return min(times), result


def ideal(layer: LayerComponents) -> torch.Tensor:
    """Return W*, densely."""
    scaled = [w * b for (b, _), w in zip(layer.pairs, layer.weights, strict=True)]
    return torch.cat(scaled, 1) @ torch.cat([a for _, a in layer.pairs])


def dense_gradient_s(layer: LayerComponents) -> float:
    """Return the seconds of W* and ``NUM_STEPS`` dense steps, from a few of them."""
    b = torch.stack([pair.lora_b for pair in layer.pairs])
    a = torch.stack([pair.lora_a for pair in layer.pairs])
    scalars = torch.tensor([layer.weights, layer.weights], requires_grad=True)
    optimiser = torch.optim.Adam([scalars], lr=0.01)
    start_s = time.perf_counter()
    target = ideal(layer)
    formed_s = time.perf_counter() - start_s
    start_s = time.perf_counter()
    for _ in range(NUM_TIMED_STEPS):
        optimiser.zero_grad()
        left, right = (
            torch.tensordot(scalars[0], b, 1),
            torch.tensordot(scalars[1], a, 1),
        )
        ((target - left @ right) ** 2).sum().backward()
        optimiser.step()
    step_s = (time.perf_counter() - start_s) / NUM_TIMED_STEPS
    return formed_s + NUM_STEPS * step_s


def table(size: int, num: int, rank: int, svd_s: float) -> None:
    """Print one table: seconds, relative error, and how much faster than dense."""
    free = components(num, size, size, rank)
    frozen = components(num, size, size, rank, frozen_a=True)
    gradient_s = dense_gradient_s(free)
    print(f"\n{size} square, U = {num}, r = {rank}, U r = {num * rank}")
    print(f"  {'dense SVD of W*':<18}{svd_s:>9.3f} s")
    print(f"  {f'dense, {NUM_STEPS} steps':<18}{gradient_s:>9.3f} s")
    print(f"  {'method':<18}{'seconds':>11}{'error':>12}{'of average':>12}", end="")
    print(f"{'SVD / this':>12}{'steps / this':>14}")
    cases = [(m, free) for m in METHODS] + [(m, frozen) for m in FROZEN_A]
    for method, layer in cases:
        repeats = 3 if size * num * rank < 4096 * 321 else 1
        spent_s, merged = timed(
            lambda m=method, x=layer: m.merge({"": x}), repeats=repeats
        )
        found = merged[""].diagnostics
        errors = found.relative_error, found.average_relative_error
        print(f"  {method.kind:<18}{spent_s:>9.3f} s", end="")
        print(f"{errors[0]:>12.2e}{errors[1]:>12.2e}", end="")
        print(f"{svd_s / spent_s:>12.0f}{gradient_s / spent_s:>14.0f}", flush=True)


def llama_set(num: int = 20, rank: int = 16) -> None:
    """Print the seconds of merging q and v of all 32 layers of Llama-3.1-8B."""
    print(f"\nLlama-3.1-8B, q and v of 32 layers, U = {num}, r = {rank}")
    start_s = time.perf_counter()
    layers = {}
    for index in range(32):
        layers[f"{index}.q"] = components(num, 4096, 4096, rank, seed=2 * index)
        layers[f"{index}.v"] = components(num, 1024, 4096, rank, seed=2 * index + 1)
    print(f"  (factors drawn in {time.perf_counter() - start_s:.0f} s)")
    for method in (FedIT(), FloraNA(), FreeALS(), ThinSVD(), FedExLora()):
        spent_s, _ = timed(lambda m=method: m.merge(layers))
        print(f"  {method.kind:<18}{spent_s:>9.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="1024 and U <= 20 only")
    quick = parser.parse_args().quick
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for size in (1024,) if quick else (1024, 4096):
        dense = ideal(components(5, size, size, 16))
        svd_s, _ = timed(lambda w=dense: torch.linalg.svd(w))
        for num in (5, 20) if quick else (5, 20, 100):
            for rank in (8, 16):
                table(size, num, rank, svd_s)
    if not quick:
        llama_set()


if __name__ == "__main__":
    main()

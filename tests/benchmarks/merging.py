"""Seconds and errors of every merge and of dense solvers, and of a whole adapter set.

    OMP_NUM_THREADS=1 python tests/benchmarks/merging.py [--quick | --full]
    OMP_NUM_THREADS=1 python tests/benchmarks/merging.py --case 4096 100 16

Components are one start plus drift, in float32. The dense solvers form W*: an SVD, and
gradient steps by autograd on FLoRA-NA's scalars as in its paper. A dense solver that
would take more than a minute is left out, and the table states that. This takes some
minutes; ``--full`` runs every method on every size, ``--quick`` only the small sizes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

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
RIVAL_LIMIT_S = 60.0
SVD, GRADIENT = "dense SVD of W*", f"dense, {NUM_STEPS} steps"
ADAM_LIMIT = 400  # U r above which the Gram form's Adam is for --full
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
LLAMA_ROWS = {"q": 4096, "v": 1024}
LLAMA_DEFAULT = ("fedit", "flora-na", "free-als", "thin-svd", "fedex-lora")


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
    """Return the minimum wall time of some repeats in seconds, and the last result."""
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


class Rival(NamedTuple):
    """A dense solver's seconds and relative error, or why it was left out."""

    name: str
    spent_s: float | None = None
    error: float | None = None
    left_out: str = ""

    def over(self, spent_s: float) -> str:
        """Return how many times faster ``spent_s`` is."""
        return "" if self.spent_s is None else f"{self.spent_s / spent_s:.0f}"

    def line(self) -> str:
        if self.spent_s is None:
            return f"  {self.name:<18}left out: {self.left_out}"
        error = "" if self.error is None else f"{self.error:>12.2e}"
        return f"  {self.name:<18}{self.spent_s:>9.3f} s{error}"


def dense_svd(layer: LayerComponents, rank: int, expected_s: float) -> Rival:
    """Return the best pair of this rank by the SVD of W*, unless it takes too long."""
    if expected_s > RIVAL_LIMIT_S:
        return Rival(SVD, left_out=f"it would take about {expected_s:.0f} s")
    spent_s, values = timed(lambda: torch.linalg.svd(ideal(layer))[1])
    return Rival(SVD, spent_s, float(values[rank:].norm() / values.norm()))


def dense_gradient(layer: LayerComponents) -> Rival:
    """Return ``NUM_STEPS`` of Adam on the scalars, by autograd through dense matrices,
    unless the first of them shows that they take too long."""
    b = torch.stack([pair.lora_b for pair in layer.pairs])
    a = torch.stack([pair.lora_a for pair in layer.pairs])
    scalars = torch.tensor([layer.weights, layer.weights], requires_grad=True)
    optimiser = torch.optim.Adam([scalars], lr=0.01)
    start_s = time.perf_counter()
    target = ideal(layer)
    formed_s = time.perf_counter() - start_s
    best = float("inf")
    for done in range(NUM_STEPS):
        optimiser.zero_grad()
        left = torch.tensordot(scalars[0], b, 1)
        right = torch.tensordot(scalars[1], a, 1)
        loss = ((target - left @ right) ** 2).sum()
        best = min(best, float(loss.detach()))
        loss.backward()
        optimiser.step()
        spent_s = time.perf_counter() - start_s
        expected_s = formed_s + (spent_s - formed_s) / (done + 1) * NUM_STEPS
        if done == 1 and expected_s > RIVAL_LIMIT_S:
            return Rival(GRADIENT, left_out=f"it would take about {expected_s:.0f} s")
    return Rival(GRADIENT, spent_s, best**0.5 / float(target.norm()))


def table(size: int, num: int, rank: int, *, svd_s: float, is_full: bool) -> None:
    """Print one table: seconds, relative error, and how much faster than dense."""
    free = components(num, size, size, rank)
    frozen = components(num, size, size, rank, frozen_a=True)
    print(f"\n{size} square, U = {num}, r = {rank}, U r = {num * rank}")
    rivals = [Rival(name, left_out="with --full only") for name in (SVD, GRADIENT)]
    if is_full or size == 1024 or rank == 16:
        rivals = [dense_svd(free, rank, svd_s), dense_gradient(free)]
    for rival in rivals:
        print(rival.line(), flush=True)
    print(f"  {'method':<18}{'seconds':>11}{'error':>12}{'of average':>12}", end="")
    print(f"{'SVD / this':>12}{'steps / this':>14}")
    cases = [(m, free) for m in METHODS] + [(m, frozen) for m in FROZEN_A]
    for method, layer in cases:
        if isinstance(method, FloraNAAdam) and num * rank > ADAM_LIMIT and not is_full:
            print(f"  {method.kind:<18}left out: with --full only")
            continue
        repeats = 3 if size * num * rank < 4096 * 321 else 1
        spent_s, merged = timed(
            lambda m=method, x=layer: m.merge({"": x}), repeats=repeats
        )
        found = merged[""].diagnostics
        errors = found.relative_error, found.average_relative_error
        print(f"  {method.kind:<18}{spent_s:>9.3f} s", end="")
        print(f"{errors[0]:>12.2e}{errors[1]:>12.2e}", end="")
        print(f"{rivals[0].over(spent_s):>12}{rivals[1].over(spent_s):>14}", flush=True)


def svd_cost_s() -> float:
    """Return the seconds of a dense SVD at 1024, from which those of others follow."""
    small = ideal(components(5, 1024, 1024, 16))
    return timed(lambda: torch.linalg.svd(small))[0]


def llama_set(*, is_full: bool, num: int = 20, rank: int = 16) -> None:
    """Print the seconds of merging q and v of all 32 layers of Llama-3.1-8B."""
    print(f"\nLlama-3.1-8B, q and v of 32 layers, U = {num}, r = {rank}")
    shapes = {f"{i}.{name}": m for i in range(32) for name, m in LLAMA_ROWS.items()}
    sets = {}
    for is_frozen in (False, True) if is_full else (False,):
        start_s = time.perf_counter()
        sets[is_frozen] = {
            name: components(num, m, 4096, rank, seed=seed, frozen_a=is_frozen)
            for seed, (name, m) in enumerate(shapes.items())
        }
        print(f"  (factors drawn in {time.perf_counter() - start_s:.0f} s)")
    cases = [(m, False) for m in METHODS] + [(m, True) for m in FROZEN_A]
    for method, is_frozen in cases:
        if not is_full and method.kind not in LLAMA_DEFAULT:
            continue
        spent_s, merged = timed(lambda m=method, x=sets[is_frozen]: m.merge(x))
        errors = [layer.diagnostics.relative_error for layer in merged.values()]
        mean = sum(errors) / len(errors)
        print(f"  {method.kind:<18}{spent_s:>9.2f} s{mean:>12.2e}", flush=True)
        del merged  # folds take hundreds of megabytes


def main() -> None:
    parser = argparse.ArgumentParser()
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true", help="1024 and U <= 20 only")
    group.add_argument("--full", action="store_true", help="every method and size")
    group.add_argument(
        "--case", type=int, nargs=3, metavar=("SIZE", "U", "R"), help="one table only"
    )
    chosen = parser.parse_args()
    start_s = time.perf_counter()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    cost_s = svd_cost_s()
    if chosen.case:
        size, num, rank = chosen.case
        svd_s = cost_s * (size / 1024) ** 3
        table(size, num, rank, svd_s=svd_s, is_full=False)
        return
    for size in (1024,) if chosen.quick else (1024, 4096):
        is_short = chosen.quick or (size == 4096 and not chosen.full)
        for num in (5, 20) if is_short else (5, 20, 100):
            for rank in (8, 16):
                svd_s = cost_s * (size / 1024) ** 3
                table(size, num, rank, svd_s=svd_s, is_full=chosen.full)
    if not chosen.quick:
        llama_set(is_full=chosen.full)
    if not chosen.full:
        print("\nnot here but with --full: 4096 at U = 100, and what is left out above")
    print(f"{time.perf_counter() - start_s:.0f} s in all")


if __name__ == "__main__":
    main()

"""Distance from lower bounds: ratios of CPU time within one turn.

    OMP_NUM_THREADS=1 python tests/benchmarks/limits.py

Transfers are compared with a bare SimPy timeout loop, merges with plain averaging of
the same factors, and training with a matrix product of as many FLOP. netsim and the
bound take turns in one process; the output is the median ratio, with the lowest and
highest.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import torch
from band import Forgetful, ends_per_cpu_s, timeouts_per_cpu_s
from merging import components
from torch.utils.flop_counter import FlopCounterMode
from training import CASES, Case, cpu_s, jobs_of, peft_loop, ways_of

from fl.aggregation import FedIT, FloraNA, LayerComponents, ThinSVD
from fl.model.lora_model import LoraModel
from netsim.trace.writer import Recorder

NUM_TURNS = 5
NUM_ENDS = 50_000
LIVE = (10, 1_000)
LAYERS = ((1024, 20, 8), (4096, 20, 16))  # width, components, rank
METHODS = (FedIT(), FloraNA(), ThinSVD())
MODELS = ("ViT 64x3, 16 images", "Llama 1M, 16 x 64", "MiniLM, 16 x 32")
WIDTH = 1024  # of the matrix product
NUM_PRODUCTS = 10

Ratios = dict[str, float]


def transfers() -> Iterator[Ratios]:
    """Yield the time of a transfer in bare timeouts, per turn."""
    kinds = {"rows dropped": Forgetful, "trace written": Recorder}
    for _ in range(NUM_TURNS):
        bare = timeouts_per_cpu_s(4 * NUM_ENDS)
        yield {
            f"{live:,} live, {name}": bare / ends_per_cpu_s(live, NUM_ENDS, kind)
            for live in LIVE
            for name, kind in kinds.items()
        }


def average(layer: LayerComponents) -> None:
    """Average the factors and do no more."""
    for factors in zip(*layer.pairs, strict=True):
        mean = torch.zeros_like(factors[0])
        for factor, weight in zip(factors, layer.weights, strict=True):
            mean.add_(factor, alpha=weight)


def merges() -> Iterator[Ratios]:
    """Yield the time of a merge in plain averages, per turn."""
    layers = {
        f"{width} square, U = {num}, r = {rank}": components(num, width, width, rank)
        for width, num, rank in LAYERS
    }
    for _ in range(NUM_TURNS):
        found = {}
        for name, layer in layers.items():
            bound_s = cpu_s(lambda x=layer: repeat(10, lambda: average(x))) / 10
            for method in METHODS:
                spent_s = cpu_s(lambda x=layer, m=method: m.merge({"": x}))
                found[f"{name}, {method.kind}"] = spent_s / bound_s
        yield found


def training() -> Iterator[Ratios]:
    """Yield the time of local steps relative to a product of their FLOP, per turn."""
    cases = {name: CASES[name] for name in MODELS}
    ways = {name: ways_of(case) for name, case in cases.items()}
    flop = {name: counted_flop(case) for name, case in cases.items()}
    left, right = torch.randn(2, WIDTH, WIDTH)
    for _ in range(NUM_TURNS + 1):
        found = {}
        for name in cases:
            spent_s = cpu_s(lambda n=name: repeat(NUM_PRODUCTS, lambda: left @ right))
            bound_s = flop[name] * spent_s / (NUM_PRODUCTS * 2 * WIDTH**3)
            for label, way in (("ours", "ours"), ("a bare peft loop", "floor")):
                found[f"{name}, {label}"] = cpu_s(ways[name][way]) / bound_s
        yield found


def counted_flop(case: Case) -> int:
    """Return the FLOP of all of a case's local steps, in matrix products."""
    lora_model = LoraModel(case.model(), case.lora, seed=0)
    with FlopCounterMode(display=False) as counter:
        peft_loop(lora_model, case, jobs_of(case, lora_model))
    return counter.get_total_flops()


def repeat(num: int, work: Callable[[], object]) -> None:
    for _ in range(num):
        work()


def show(title: str, turns: list[Ratios]) -> None:
    print(f"\n| {title} | times the bound |\n|---|---|")
    for name in turns[0]:
        ratios = sorted(turn[name] for turn in turns)
        middle = statistics.median(ratios)
        print(f"| {name} | {middle:.3g} ({ratios[0]:.3g}-{ratios[-1]:.3g}) |")


def main() -> None:
    torch.manual_seed(0)
    show("a transfer, over a bare SimPy timeout", list(transfers()))
    show("a merge, over plain averaging", list(merges()))
    show("local steps, over a matrix product of their FLOP", list(training())[1:])


if __name__ == "__main__":
    main()

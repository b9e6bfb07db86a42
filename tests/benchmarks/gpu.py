"""Cohorts on an accelerator against one client after the other in plain PEFT.

    python -m tests.benchmarks.gpu --csv FILE [--device cuda] [--limit-s 600] [--small]

Runs unattended; what the limit or the memory does not allow is a row that says so. It
first compares trained adapters with those of the CPU. Then it trains cohorts of 1 to
128 clients of a MiniLM, and of decoders with the shapes of 1B and 8B models, random
weights, base in bfloat16: by our engine, by our engine compiled, and by a bare PEFT
loop. A row has the wall-clock milliseconds of one client's local step, its ratio to the
loop's, and the peak memory. ``--small`` tries the script on tiny models, on any device.
"""

from __future__ import annotations

import argparse
import csv
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.settings.local_training import TrainingSettings
from fl.training.local_training import LocalJob, train
from tests.benchmarks.training import (
    LLAMA_LORA,
    Case,
    Texts,
    jobs_of,
    peft_loop,
)

BERT_LORA = LoraSettings(target_modules=("query", "value"), modules_to_save=())
COHORTS = (1, 2, 4, 8, 16, 32, 64, 128)
NUM_REPEATS = 3
NUM_SEQUENTIAL = 4  # clients of the loop: its cost per step does not depend on them
TOLERANCES = {"float64": 1e-9, "float32": 1e-3}
FLOOR = "bare peft loop"
COMPILED = {"ours, compiled": "default", "ours, CUDA graphs": "reduce-overhead"}


class Row(NamedTuple):
    """One measurement; ``status`` says why figures are missing."""

    model: str
    way: str
    clients: int
    ms_per_step: float | None = None
    ratio: float | None = None
    peak_gib: float | None = None
    status: str = "measured"


def bert(width: int, layers: int) -> Callable[[], torch.nn.Module]:
    """Return a maker of a BERT classifier."""
    config = BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        num_labels=4,
    )
    return lambda: BertForSequenceClassification(config)


def llama(
    width: int, layers: int, inner: int, heads: int, kv_heads: int, words: int
) -> Callable[[], torch.nn.Module]:
    """Return a maker of a decoder of Llama's kind."""
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        pad_token_id=0,
    )
    return lambda: LlamaForCausalLM(config)


def case(
    model: Callable[[], torch.nn.Module], lora: LoraSettings, longest: int = 128
) -> Case:
    labels = 4 if lora is BERT_LORA else None
    return Case(model, Texts(longest // 2, longest, labels), lora, COHORTS[-1], 4, 3)


CASES = {
    "MiniLM": case(bert(384, 6), BERT_LORA),
    "1B": case(llama(2048, 16, 8192, 32, 8, 128_256), LLAMA_LORA),
    "8B": case(llama(4096, 32, 14_336, 32, 8, 128_256), LLAMA_LORA),
}
SMALL_CASES = {
    "tiny BERT": case(bert(32, 2), BERT_LORA, 8),
    "tiny Llama": case(llama(32, 2, 64, 2, 1, 1000), LLAMA_LORA, 8),
}


def loaded(one: Case, device: str, *, precision: str) -> LoraModel:
    """Return a case's model with random weights, the same ones on every device for
    float32 and float64; bfloat16 is made where it stays."""
    torch.manual_seed(0)
    if precision != "bfloat16":
        base = one.model()
        return LoraModel(base, one.lora, seed=0, precision=precision, device=device)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            base = one.model()
    finally:
        torch.set_default_dtype(before)
    return LoraModel(base, one.lora, seed=0, device=device)


def settings_of(one: Case) -> TrainingSettings:
    return TrainingSettings(per_device_train_batch_size=one.batch_size)


def largest_gap(one: Case, device: str, precision: str) -> float:
    """Return the largest difference of a number between adapters trained as one cohort
    on the device and on the CPU."""
    found = []
    for place in ("cpu", device):
        lora_model = loaded(one, place, precision=precision)
        jobs = jobs_of(replace(one, num_clients=4), lora_model)
        trained = train(lora_model, one.task, jobs, settings=settings_of(one), seed=0)
        found.append(torch.stack([each.adapter.flat for each in trained]))
    return float((found[0] - found[1]).abs().max())


class Clock:
    """The time that is left, and the wall-clock time of work on a device."""

    def __init__(self, device: str, limit_s: float) -> None:
        self._is_cuda = device.startswith("cuda")
        self._end_s = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        return self._end_s - time.monotonic()

    def seconds(self, work: Callable[[], None]) -> float:
        """Return the median of some turns after one that warms up."""
        taken = []
        for _ in range(NUM_REPEATS + 1):
            start = time.perf_counter()
            work()
            if self._is_cuda:
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken[1:])

    def forget_peak(self) -> None:
        gc.collect()
        if self._is_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_gib(self) -> float | None:
        """Return the most memory in use since it was forgotten; None on a CPU."""
        return torch.cuda.max_memory_allocated() / 2**30 if self._is_cuda else None


def measured(
    clock: Clock,
    row: Row,
    work: Callable[[], None],
    num_steps: int,
    floor_ms: float | None,
    reserve_s: float,
) -> Row:
    """Return the row with its figures, or with the reason why it has none."""
    if clock.left_s < reserve_s:
        return row._replace(status="left out: no time")
    clock.forget_peak()
    try:
        ms = 1e3 * clock.seconds(work) / num_steps
    except torch.OutOfMemoryError:
        return row._replace(status="out of memory")
    except Exception as error:  # a compiler may fail in any way; the others go on
        return row._replace(status=f"failed: {type(error).__name__}")
    ratio = 1.0 if row.way == FLOOR else floor_ms and ms / floor_ms
    return row._replace(ms_per_step=ms, ratio=ratio, peak_gib=clock.peak_gib())


def rows_of(
    name: str, one: Case, clock: Clock, device: str, reserve_s: float
) -> Iterator[Row]:
    """Yield the rows of one model; later models keep ``reserve_s`` of the time."""
    lora_model = loaded(one, device, precision="bfloat16")
    jobs = jobs_of(one, lora_model)
    loop = Row(name, FLOOR, NUM_SEQUENTIAL)
    some = jobs[:NUM_SEQUENTIAL]

    def ours(chosen: list[LocalJob]) -> None:
        train(lora_model, one.task, chosen, settings=settings_of(one), seed=0)

    def sequential() -> None:
        peft_loop(lora_model, one, some)

    steps = len(some) * one.steps
    floor = measured(clock, loop, sequential, steps, None, reserve_s)
    yield floor
    eager = lora_model.model
    for way, mode in {"ours": None, **COMPILED}.items():
        if mode is not None and not device.startswith("cuda"):
            continue  # the compiler of the CPU takes minutes
        lora_model.model = eager if mode is None else torch.compile(eager, mode=mode)
        for clients in COHORTS:
            work, steps = partial(ours, jobs[:clients]), clients * one.steps
            row = Row(name, way, clients)
            yield measured(clock, row, work, steps, floor.ms_per_step, reserve_s)
        torch.compiler.reset()


def shown(row: Row) -> str:
    """Return a line of the table."""
    figures = [
        "" if value is None else f"{value:.3g}"
        for value in (row.ms_per_step, row.ratio, row.peak_gib)
    ]
    return " | ".join([row.model, row.way, str(row.clients), *figures, row.status])


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--csv", required=True, help="where the rows go")
    parser.add_argument("--limit-s", type=float, default=600.0)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args(given)
    torch.set_num_threads(1)
    clock = Clock(asked.device, asked.limit_s)
    for name, one in SMALL_CASES.items():
        for precision, tolerance in TOLERANCES.items():
            gap = largest_gap(one, asked.device, precision)
            print(f"{name}, {precision}: {gap:.1e} from the CPU's adapters", flush=True)
            if not gap <= tolerance:
                raise SystemExit(f"more than {tolerance}: this device trains wrongly")
    cases = SMALL_CASES if asked.small else CASES
    with open(asked.csv, "w", newline="", buffering=1) as file:  # whole at every line
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Row._fields)
        for place, (name, one) in enumerate(cases.items(), start=1):
            reserve_s = asked.limit_s * (len(cases) - place) / (len(cases) + 1)
            for row in rows_of(name, one, clock, asked.device, reserve_s):
                table.writerow(row)
                print(shown(row), flush=True)


if __name__ == "__main__":
    main()

"""Settings of one federation that cannot go together, found before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fl.aggregation import Method, PlainServer
from fl.aggregation.method import NEW_GAUGE
from fl.settings.federation import FederationSettings

LINEAR_SERVERS = ("plain", "momentum")


class Conflict(NamedTuple):
    """The setting to change, and why."""

    path: tuple[str, ...]
    reason: str


def conflicts(learning: FederationSettings) -> Iterator[Conflict]:
    """Yield what cannot work, for any participants and any network."""
    yield from _of_layers(learning)
    yield from _of_numbers(learning)
    yield from _of_local_training(learning)
    contract = learning.aggregation.contract
    if learning.server_optimiser != PlainServer():
        for reason in contract.refusals(["server-optimiser"]):
            yield Conflict(("server_optimiser",), _against(learning, reason))
    if learning.secure_aggregation:
        for reason in contract.refusals(["secure-aggregation"]):
            yield Conflict(("secure_aggregation",), _against(learning, reason))
    if learning.compression is not None and learning.compression.has_memory:
        for reason in _against_memory(learning, "its error memory"):
            yield Conflict(("compression",), _against(learning, reason))


def _of_local_training(learning: FederationSettings) -> Iterator[Conflict]:
    """Yield what a way to train cannot."""
    local, optim = learning.local_training, learning.training.optim
    demands, path = local.demands, ("local_training",)
    if demands.optimisers and optim not in demands.optimisers:
        wanted = " or ".join(demands.optimisers)
        text = f"needs training.optim {wanted}, got {optim}"
        yield Conflict(path, f"{local.kind} {text}")
    if demands.lacks:
        yield Conflict(path, demands.lacks)
    if demands.keeps or demands.shares:
        for reason in _against_memory(learning, "what it keeps"):
            yield Conflict(path, _against(learning, reason))
    if demands.is_alone and learning.exchange(1).trains == ("core",):
        yield Conflict(path, _against(learning, "PEFT's own layers have no core"))
    if demands.shares and learning.payload.precision.startswith("int"):
        text = "sends rows that are not tensors to scale; use float32 or bfloat16"
        yield Conflict(("payload", "precision"), f"{local.kind} {text}")
    if demands.keeps and learning.compression and learning.compression.has_memory:
        text = "and the error memory of the compression: only one can be kept"
        yield Conflict(path, f"what {local.kind} keeps {text}")


def _against_memory(learning: FederationSettings, name: str) -> Iterator[str]:
    """Yield why clients cannot use later what they keep of a change."""
    method = learning.aggregation
    if method.contract.personal:
        yield f"{name} and the client's own factors: only one can be kept"
    if learning.exchange(1).sends != learning.exchange(2).sends:
        yield "what it keeps back of one factor would be sent with the other factor"
    pair_of: Method = getattr(method, "projection", method)
    if pair_of.contract.cannot.get("server-optimiser") == NEW_GAUGE:
        yield (
            "every merge chooses new coordinates for the factors, and what clients "
            "keep back is in the old ones; use 'quantised', which keeps nothing"
        )


def _of_layers(learning: FederationSettings) -> Iterator[Conflict]:
    """Yield what DoRA and HiRA cannot, and ranks that do not fit."""
    method, lora = learning.aggregation, learning.lora
    if lora.use_dora or lora.peft_type != "lora":
        name = "DoRA" if lora.use_dora else "HiRA"
        if method.contract.is_folding:
            text = f"adds to the base, which {name}'s layers are made of"
            yield Conflict(("aggregation",), f"{method.kind} {text}; use plain LoRA")
        if method.kind == "florist":
            text = "makes pairs of other ranks than the layers have, which only plain "
            yield Conflict(
                ("aggregation",), f"{method.kind} {text}LoRA's base can hold"
            )
        if set(learning.exchange(1).trains) != {"A", "B"}:
            text = f"trains one part of a plain LoRA layer, not {name}'s"
            yield Conflict(("aggregation",), f"{method.kind} {text}")
        if learning.evaluation.average is not None:
            text = f"averages models W0 + s B A, which {name}'s layers are not"
            yield Conflict(("evaluation", "average"), f"{text}; use plain LoRA")
    is_power = lora.r & (lora.r - 1) == 0
    if getattr(method, "gauge", None) == "hadamard" and not is_power:
        text = f"'hadamard' needs a rank that is a power of two, and lora.r is {lora.r}"
        yield Conflict(("aggregation", "gauge"), text)


def _of_numbers(learning: FederationSettings) -> Iterator[Conflict]:
    """Yield precisions in which a method would not do what it promises."""
    method, precision = learning.aggregation, learning.payload.precision
    is_exact = method.contract.is_folding or learning.exchange(1).trains == ("core",)
    if is_exact and precision != "float32":
        text = "rounding errors would add up in what all clients build on; use float32"
        yield Conflict(("payload", "precision"), _against(learning, text))
    base = getattr(learning.backbone, "dtype", "float32")
    if method.contract.is_folding and base != "float32":
        text = "a fold would be rounded away in the base; use float32"
        yield Conflict(("backbone", "dtype"), _against(learning, text))
    if learning.exchange(1).trains == ("core",):
        if learning.compression is not None:
            text = "it compresses changes of factors, and a core is none"
            yield Conflict(("compression",), _against(learning, text))
        if learning.start is not None:
            text = "an adapter of other factors has no core between the fixed ones"
            yield Conflict(("start",), _against(learning, text))
        if learning.server_optimiser.kind not in LINEAR_SERVERS:
            text = (
                "a step of every number by itself does not leave a core between its "
                f"fixed bases; use {' or '.join(LINEAR_SERVERS)}"
            )
            yield Conflict(("server_optimiser",), _against(learning, text))


def _against(learning: FederationSettings, reason: str) -> str:
    return f"does not go with aggregation {learning.aggregation.kind!r}: {reason}"

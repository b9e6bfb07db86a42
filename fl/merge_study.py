"""Comparison of merges on the same adapters: error, traffic and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fl.aggregation import (
    Compression,
    LayerComponents,
    MergedLayer,
    Method,
    Pair,
    Shape,
    VersionRanks,
    download_numbers,
    ranks,
)
from fl.aggregation.grams import product_error
from fl.aggregation.method import Ability
from fl.aggregation.reference_norms import ratio, reference_norms
from fl.contract import Score
from fl.federation.merging import Component, assembled
from fl.model.adapters import Adapter
from fl.model.payload import NOTHING, Extent, Payload, parts_extent


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTrial:
    """The errors of one method's merge of one matrix, as sent."""

    layer: str
    relative_error: float
    update_relative_error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One method on one round's adapters; bits are those of one participant."""

    method: str
    status: Literal["compared", "trains otherwise", "cannot"]
    reason: str  # for a method that was not compared
    upload_bits: int
    download_bits: int
    host_s: float
    layers: tuple[LayerTrial, ...] = ()
    metrics: Score | None = None  # of the merged model, if evaluated


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """A merge of a run; its adapters were trained for the method ``own``."""

    components: tuple[Component, ...]
    previous: Adapter
    own: Method
    payload: Payload
    round_index: int  # counted from zero
    rank: int  # of a client without a sketch
    compression: Compression | None = None  # of uploads, instead of the payload
    is_asynchronous: bool = False

    @property
    def has_small_clients(self) -> bool:
        """Return whether a client's adapter has a smaller rank."""
        clients = (c.adapter for c in self.components if c.adapter != self.previous)
        return any(len(a) < self.rank for c in clients for _, a in c.pairs().values())

    @property
    def shapes(self) -> dict[str, Shape]:
        """Return the shape of each adapted matrix."""
        return {
            module: Shape(len(lora_b), lora_a.shape[1])
            for module, (lora_b, lora_a) in self.previous.pairs().items()
        }

    def whole(self, method: Method) -> Extent:
        """Return the extent of what is trained outside LoRA and sent."""
        parts = self.previous.layout.parts
        is_personal = "rest" in method.contract.personal
        return Extent.of(p for p in parts if p.factor is None and not is_personal)

    def layers(self) -> dict[str, LayerComponents]:
        """Return the components of each matrix."""
        pairs = [component.adapter.pairs() for component in self.components]
        weights = tuple(component.weight for component in self.components)
        before = self.previous.pairs()
        return {
            module: LayerComponents(
                tuple(Pair(*own[module]) for own in pairs),
                weights,
                Pair(*before[module]),
            )
            for module in before
        }


# Evaluates the model of an adapter and of additions to the base.
Evaluator: TypeAlias = Callable[[Adapter, Mapping[str, Pair]], Score]


def compare(
    merge: Round, methods: Iterable[Method], evaluate: Evaluator | None = None
) -> list[Trial]:
    """Return the trial of each method on the same adapters, in the order given."""
    layers = merge.layers()
    return [_trial(merge, method, layers, evaluate) for method in methods]


def _trial(
    merge: Round,
    method: Method,
    layers: Mapping[str, LayerComponents],
    evaluate: Evaluator | None,
) -> Trial:
    trains, own = (m.exchange(merge.round_index).trains for m in (method, merge.own))
    if method.contract.personal:
        kept = " and ".join(method.contract.personal)
        return _left_out(merge, method, "trains otherwise", f"{kept} stay with clients")
    if trains != own:
        reason = f"clients train {' and '.join(trains)} only"
        return _left_out(merge, method, "trains otherwise", reason)
    needed: list[Ability] = ["asynchrony"] if merge.is_asynchronous else []
    needed += ["unequal-ranks"] if merge.has_small_clients else []
    refusals = method.contract.refusals(needed)
    if refusals:
        return _left_out(merge, method, "cannot", "; ".join(refusals))
    start_s = time.perf_counter()
    try:
        merged = method.merge(layers)
    except ValueError as error:  # such as weights below zero
        return _left_out(merge, method, "cannot", str(error))
    host_s = time.perf_counter() - start_s
    versions = {name: ranks(layer) for name, layer in merged.items()}
    return Trial(
        method=method.kind,
        status="compared",
        reason="",
        upload_bits=upload_bits(merge, method),
        download_bits=download_bits(merge, method, versions),
        host_s=host_s,
        layers=_errors(layers, merged),
        metrics=evaluate and evaluate(*assembled(merge.components, merged)[:2]),
    )


def _left_out(
    merge: Round,
    method: Method,
    status: Literal["trains otherwise", "cannot"],
    reason: str,
) -> Trial:
    """Return a trial with the traffic only, for a version without a fold."""
    plain = dict.fromkeys(merge.shapes, VersionRanks(merge.rank, 0))
    return Trial(
        method=method.kind,
        status=status,
        reason=reason,
        upload_bits=upload_bits(merge, method),
        download_bits=download_bits(merge, method, plain),
        host_s=0.0,
    )


def _errors(
    layers: Mapping[str, LayerComponents], merged: Mapping[str, MergedLayer]
) -> tuple[LayerTrial, ...]:
    norms = reference_norms(layers)
    found = []
    for name, layer in merged.items():
        sent = [layer.pair] if layer.fold is None else [layer.pair, layer.fold]
        error, reference = product_error(layers[name], sent), norms[name]
        assert reference.update is not None, "a round has a previous adapter"
        update = ratio(error * reference.norm, reference.update)
        found.append(
            LayerTrial(layer=name, relative_error=error, update_relative_error=update)
        )
    return tuple(found)


def upload_bits(merge: Round, method: Method) -> int:
    """Return the upload of a participant of full rank, in bits."""
    sent = method.exchange(merge.round_index).sends
    extent = parts_extent(sent, merge.shapes.values(), merge.rank) + merge.whole(method)
    if merge.compression is not None:
        return merge.compression.bits(extent.num_numbers)
    return merge.payload.bits(extent)


def download_bits(
    merge: Round, method: Method, versions: Mapping[str, VersionRanks]
) -> int:
    """Return the download of a participant that has the previous version, in bits."""
    parts = method.exchange(merge.round_index).receives
    is_cut = method.contract.is_truncated_on_send
    extent = merge.whole(method)
    for name, shape in merge.shapes.items():
        version = versions[name]
        width = min(merge.rank, version.pair) if is_cut else version.pair
        extent += parts_extent(parts, [shape], width)
        extent += _fold_extent(method, shape, version)
    return merge.payload.bits(extent)


def _fold_extent(method: Method, shape: Shape, version: VersionRanks) -> Extent:
    """Return the extent of a fold: dense, or two factors if these are smaller."""
    if not version.fold:
        return NOTHING
    numbers = download_numbers(method, shape, version=version, rank=version.pair).fold
    if numbers == shape.num_rows * shape.num_columns:
        return Extent(numbers, 1, shape.num_rows)
    return Extent(numbers, 2, shape.num_rows + version.fold)

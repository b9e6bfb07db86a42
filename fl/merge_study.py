"""Comparison of merges on the same adapters: error, traffic and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from fl.aggregation import (
    Compression,
    LayerComponents,
    MergedLayer,
    Method,
    Pair,
    VersionRanks,
    ranks,
)
from fl.aggregation.context import merged_by
from fl.aggregation.method import Ability
from fl.aggregation.reference_norms import reference_norms
from fl.contract import LayerError, Score
from fl.federation.merging import Component, assembled, layer_components
from fl.federation.traffic import Traffic
from fl.model.adapters import Adapter
from fl.model.payload import Extent, Payload, Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One method on one round's adapters; bits are those of one participant."""

    method: str
    status: Literal["compared", "trains otherwise", "cannot"]
    reason: str  # for a method that was not compared
    upload_bits: int
    download_bits: int
    host_s: float
    layers: tuple[LayerError, ...] = ()  # as sent
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

    def traffic(self, method: Method) -> Traffic:
        """Return how many bits the method would have moved."""
        layout = self.previous.layout
        return Traffic(
            method=method,
            shapes=[Shape(*shape) for shape in layout.shapes.values()],
            rest=Extent.of(part for part in layout.parts if part.factor is None),
            payload=self.payload,
            rank=self.rank,
            compression=self.compression,
            is_truncated=True,
        )


# Evaluates the model of an adapter and of additions to the base.
Evaluator: TypeAlias = Callable[[Adapter, Mapping[str, Pair]], Score]


def compare(
    merge: Round, methods: Iterable[Method], evaluate: Evaluator | None = None
) -> list[Trial]:
    """Return the trial of each method on the same adapters, in the order given."""
    layers = layer_components(merge.components, merge.previous)
    return [_trial(merge, method, layers, evaluate) for method in methods]


def _trial(
    merge: Round,
    method: Method,
    layers: Mapping[str, LayerComponents],
    evaluate: Evaluator | None,
) -> Trial:
    if reason := _trains_otherwise(merge, method):
        return _left_out(merge, method, "trains otherwise", reason)
    needed: list[Ability] = ["asynchrony"] if merge.is_asynchronous else []
    needed += ["unequal-ranks"] if merge.has_small_clients else []
    if refusals := method.contract.refusals(needed):
        return _left_out(merge, method, "cannot", "; ".join(refusals))
    start_s = time.perf_counter()
    try:
        merged = merged_by(method, layers)
    except ValueError as error:  # such as weights below zero
        return _left_out(merge, method, "cannot", str(error))
    host_s = time.perf_counter() - start_s
    up, down = bits_of(merge, method, [ranks(layer) for layer in merged.values()])
    return Trial(
        method=method.kind,
        status="compared",
        reason="",
        upload_bits=up,
        download_bits=down,
        host_s=host_s,
        layers=_errors(method, layers, merged),
        metrics=evaluate
        and evaluate(*assembled(merge.components, merged, method.contract.rest)),
    )


def _trains_otherwise(merge: Round, method: Method) -> str:
    """Return why a method's clients do not train what these did; empty if they do."""
    if method.contract.personal:
        return f"{' and '.join(method.contract.personal)} stay with clients"
    trains, own = (m.exchange(merge.round_index).trains for m in (method, merge.own))
    return "" if trains == own else f"clients train {' and '.join(trains)} only"


def _left_out(
    merge: Round,
    method: Method,
    status: Literal["trains otherwise", "cannot"],
    reason: str,
) -> Trial:
    """Return a trial with the traffic only, for a version without a fold."""
    plain = [VersionRanks(merge.rank, 0)] * len(merge.previous.layout.modules)
    up, down = bits_of(merge, method, plain)
    return Trial(
        method=method.kind,
        status=status,
        reason=reason,
        upload_bits=up,
        download_bits=down,
        host_s=0.0,
    )


def _errors(
    method: Method,
    layers: Mapping[str, LayerComponents],
    merged: Mapping[str, MergedLayer],
) -> tuple[LayerError, ...]:
    norms = reference_norms(layers)
    return tuple(
        LayerError(
            name,
            method.kind,
            **asdict(norms[name].of_products(layers[name], layer.sent)),
        )
        for name, layer in merged.items()
    )


def bits_of(
    merge: Round, method: Method, made: Sequence[VersionRanks]
) -> tuple[int, int]:
    """Return the upload of a participant of full rank, and the download of one that has
    the previous version, in bits."""
    traffic, parts = merge.traffic(method), method.exchange(merge.round_index).receives
    down = traffic.bits_down(parts, made, merge.rank)
    down += traffic.fold_bits([ranks.fold for ranks in made], merge.rank)
    return traffic.bits_up(merge.rank, merge.round_index), down

"""Every merge of the same clients' adapters: what each misses, sends and takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fl.adapters import Adapter
from fl.aggregation import (
    LayerComponents,
    MergedLayer,
    Method,
    Pair,
    Shape,
    VersionRanks,
    download_numbers,
    ranks,
    upload_numbers,
)
from fl.aggregation.grams import product_error
from fl.aggregation.method import Ability
from fl.aggregation.yardstick import ratio, yardsticks
from fl.merging import Component
from fl.payload import Extent, Payload


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTrial:
    """What one method's merge of one matrix misses, as it is sent."""

    layer: str
    relative_error: float
    update_relative_error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One method on one round's adapters; bits are those of one participant."""

    method: str
    status: Literal["compared", "trains otherwise", "cannot"]
    reason: str  # why it was not compared
    upload_bits: int
    download_bits: int
    host_s: float
    layers: tuple[LayerTrial, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """A merge that took place, whose adapters were trained for the method ``own``."""

    components: tuple[Component, ...]
    previous: Adapter
    own: Method
    payload: Payload
    round_index: int  # counts merges from zero
    rank: int  # of a client that trains all
    is_asynchronous: bool = False

    @property
    def shapes(self) -> dict[str, Shape]:
        """Return the shape of each adapted matrix."""
        return {
            module: Shape(len(lora_b), lora_a.shape[1])
            for module, (lora_b, lora_a) in self.previous.pairs().items()
        }

    def whole(self, method: Method) -> Extent:
        """Return what is trained outside LoRA and travels in full, unless personal."""
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


def compare(merge: Round, methods: Iterable[Method]) -> list[Trial]:
    """Return what each method makes of the same adapters, in the order given."""
    layers = merge.layers()
    return [_trial(merge, method, layers) for method in methods]


def _trial(
    merge: Round, method: Method, layers: Mapping[str, LayerComponents]
) -> Trial:
    trains, own = (m.exchange(merge.round_index).trains for m in (method, merge.own))
    if method.contract.personal:
        kept = " and ".join(method.contract.personal)
        return _left_out(merge, method, "trains otherwise", f"{kept} stay with clients")
    if trains != own:
        reason = f"clients train {' and '.join(trains)} only"
        return _left_out(merge, method, "trains otherwise", reason)
    needed: list[Ability] = ["asynchrony"] if merge.is_asynchronous else []
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
    )


def _left_out(
    merge: Round,
    method: Method,
    status: Literal["trains otherwise", "cannot"],
    reason: str,
) -> Trial:
    """Return the traffic alone, of a version of the adapters' rank without a fold."""
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
    sizes = yardsticks(layers)
    found = []
    for name, layer in merged.items():
        sent = [layer.pair] if layer.fold is None else [layer.pair, layer.fold]
        error, size = product_error(layers[name], sent), sizes[name]
        assert size.update is not None, "a round has an adapter before it"
        update = ratio(error * size.norm, size.update)
        found.append(
            LayerTrial(layer=name, relative_error=error, update_relative_error=update)
        )
    return tuple(found)


def upload_bits(merge: Round, method: Method) -> int:
    """Return what one participant of the whole rank sends."""
    index, rank = merge.round_index, merge.rank
    parts = method.exchange(index).sends
    extents = [
        Extent(
            upload_numbers(method, shape, rank=rank, round_index=index),
            len(parts),
            sum(_part_rows(part, shape, rank) for part in parts),
        )
        for shape in merge.shapes.values()
    ]
    return merge.payload.bits(_total([*extents, merge.whole(method)]))


def download_bits(
    merge: Round, method: Method, versions: Mapping[str, VersionRanks]
) -> int:
    """Return what a participant receives that has the version before."""
    index, rank = merge.round_index, merge.rank
    parts = method.exchange(index).receives
    extents = []
    for name, shape in merge.shapes.items():
        version = versions[name]
        numbers = download_numbers(
            method, shape, version=version, rank=rank, round_index=index
        )
        rows = sum(_part_rows(part, shape, version.pair) for part in parts)
        extents.append(Extent(numbers.pair, len(parts), rows))
        extents.append(_fold(shape, version.fold, numbers.fold))
    return merge.payload.bits(_total([*extents, merge.whole(method)]))


def _fold(shape: Shape, rank: int, numbers: int) -> Extent:
    """Return the extent of a fold: dense, or two factors where these are less."""
    if not rank:
        return Extent(0, 0, 0)
    if numbers == shape.num_rows * shape.num_columns:
        return Extent(numbers, 1, shape.num_rows)
    return Extent(numbers, 2, shape.num_rows + rank)


def _part_rows(part: str, shape: Shape, rank: int) -> int:
    return shape.num_rows if part == "B" else rank


def _total(extents: Sequence[Extent]) -> Extent:
    return Extent(
        sum(extent.num_numbers for extent in extents),
        sum(extent.num_tensors for extent in extents),
        sum(extent.num_rows for extent in extents),
    )

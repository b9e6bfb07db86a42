"""Merging of adapters saved by ``peft`` into one that ``peft`` loads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fl.aggregation import (
    AGGREGATIONS,
    FloraNA,
    MergeDiagnostics,
    MergedLayer,
    Method,
    ranks,
)
from fl.aggregation.context import merged_by
from fl.aggregation.reference_norms import ratio, reference_norms
from fl.memory.recipe import settings
from fl.peft_folders.base_delta import write_base_delta
from fl.peft_folders.companions import copy_companions, write_card
from fl.peft_folders.components import WEIGHT_SUM_TOLERANCE, Components
from fl.peft_folders.fit import common_base_delta
from fl.peft_folders.folder import (
    new_folder,
    read_peft_folder,
    require_free,
    write_peft_folder,
)
from fl.peft_folders.whole_model import ModelPrecision, write_whole_model
from fl.tasks.data_files import did_you_mean

REPORT_FILE = "merge.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerReport:
    """The relative errors of one merged matrix, as written."""

    layer: str
    num_components: int
    rank: int
    fold_rank: int  # 0: nothing is folded into the base
    relative_error: float
    average_relative_error: float  # of plain factor averaging
    update_relative_error: float | None  # relative to ||W* - previous||, if given


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeReport:
    """Inputs and errors of a merge; totals are over all matrices, scales included."""

    folder: str
    method: str
    settings: object  # of the method, as JSON
    adapters: tuple[str, ...]
    weights: tuple[float, ...]
    previous: str | None
    previous_weight: float
    relative_error: float
    average_relative_error: float
    num_whole_tensors: int  # trained outside LoRA, averaged
    notes: tuple[str, ...]
    layers: tuple[LayerReport, ...]


def merge_folders(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    method: Method | str | None = None,
    weights: Sequence[float] | None = None,
    previous: str | Path | None = None,
    with_model: ModelPrecision | None = None,
) -> MergeReport:
    """Merge PEFT adapter folders into the new folder ``out`` and return a report.

    ``method`` is a record of ``fl.aggregation`` or the name of one with its defaults,
    such as "fedit". The defaults are FLoRA-NA and equal weights. Weights that do not
    sum to one need ``previous``, the adapter before the round, which gets the remaining
    weight. Folds of a method, and those of ``previous``, are written for
    ``fl.peft_folders.apply_base_delta``. Tokenizer and model card are the first
    adapter's. ``with_model`` also writes base and adapter as one model into ``model/``,
    in this precision. Raises ``ValueError`` if the adapters or the method do not fit.
    """
    merge = _method(method)
    require_free(Path(out))
    shares = client_weights(weights, len(folders), has_previous=previous is not None)
    clients = tuple(read_peft_folder(folder) for folder in folders)
    before = None if previous is None else read_peft_folder(previous)
    components = Components(clients, shares, before)
    components.require_fit(merge)
    onto = common_base_delta(clients, before)
    layers = components.layers()
    merged = merged_by(merge, layers)
    adapter = components.adapter(merged, merge.contract.rest)
    folds = components.folds(merged)
    report = _report(merge, Path(out), components, merged, onto)
    with new_folder(out) as folder:
        write_peft_folder(folder, adapter)
        write_base_delta(
            folder,
            folds,
            rule="multiply" if adapter.kind == "HIRA" else "add",
            is_dense=merge.contract.is_fold_dense,
            onto=onto,
        )
        _write_companions(folder, components, merge)
        if with_model is not None:
            write_whole_model(folder, adapter, with_model)
        text = json.dumps(asdict(report), indent=1)
        (folder / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
    return report


def _write_companions(folder: Path, components: Components, method: Method) -> None:
    source = components.first
    copy_companions(source.path, source.config, folder)
    shares = {str(one.path): weight for one, weight in components.terms()}
    write_card(source.path, folder, method.kind, shares)


def _method(given: Method | str | None) -> Method:
    """Return the method that a caller names; FLoRA-NA where none is named."""
    if given is None:
        return FloraNA()
    if not isinstance(given, str):
        return given
    if given not in AGGREGATIONS:
        raise ValueError(
            f"unknown method {given!r}{did_you_mean(given, AGGREGATIONS)} "
            f"(methods: {', '.join(AGGREGATIONS)})"
        )
    return AGGREGATIONS[given]()


def client_weights(
    given: Sequence[float] | None, num_clients: int, *, has_previous: bool
) -> tuple[float, ...]:
    """Return one finite weight per client; the default is equal weights."""
    if not num_clients:
        raise ValueError("there must be at least one adapter to merge, got none")
    shares = tuple([1 / num_clients] * num_clients if given is None else given)
    if len(shares) != num_clients:
        raise ValueError(
            f"weights must be one per adapter ({num_clients}), got {len(shares)}"
        )
    if not all(map(math.isfinite, shares)):
        raise ValueError(f"weights must be finite, got {list(shares)}")
    total = math.fsum(shares)
    if not has_previous and not abs(total - 1) <= WEIGHT_SUM_TOLERANCE:
        raise ValueError(
            f"weights must sum to 1, got {total:.12g}; write thirds as 1/3, or give "
            "the previous global adapter, which takes the rest"
        )
    return shares


def _report(
    method: Method,
    out: Path,
    components: Components,
    merged: Mapping[str, MergedLayer],
    onto: Path | None,
) -> MergeReport:
    layers = components.layers()
    norms = reference_norms(layers)
    rows = [
        _row(
            name,
            layer,
            norms[name].of_products(layers[name], components.written(layer)),
        )
        for name, layer in merged.items()
    ]
    scaled = {name: s * norms[name].norm for name, s in components.first.scales.items()}
    previous = components.previous
    return MergeReport(
        folder=str(out),
        method=method.kind,
        settings=settings(method),
        adapters=tuple(str(folder.path) for folder in components.clients),
        weights=components.weights,
        previous=None if previous is None else str(previous.path),
        previous_weight=components.previous_weight,
        relative_error=_total([(r.relative_error, scaled[r.layer]) for r in rows]),
        average_relative_error=_total(
            [(r.average_relative_error, scaled[r.layer]) for r in rows]
        ),
        num_whole_tensors=len(components.first.rest),
        notes=components.notes(any(row.fold_rank for row in rows), onto),
        layers=tuple(rows),
    )


def _row(name: str, merged: MergedLayer, found: MergeDiagnostics) -> LayerReport:
    rank, fold_rank = ranks(merged)
    return LayerReport(
        layer=name,
        num_components=found.num_components,
        rank=rank,
        fold_rank=fold_rank,
        relative_error=found.relative_error,
        average_relative_error=found.average_relative_error,
        update_relative_error=found.update_relative_error,
    )


def _total(parts: Sequence[tuple[float, float]]) -> float:
    """Return the relative error over all matrices, from pairs of error and norm."""
    return ratio(
        math.hypot(*(error * norm for error, norm in parts)),
        math.hypot(*(norm for _, norm in parts)),
    )

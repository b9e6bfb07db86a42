"""Adapter folders and their weights, as the components of a merge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fl.aggregation import LayerComponents, MergedLayer, Method, Pair
from fl.aggregation.components import pad_rank
from fl.aggregation.dora import merged_magnitudes
from fl.aggregation.method import Rest
from fl.peft_folders.companions import base_name, tokenizers_differ
from fl.peft_folders.fit import require_alike, require_mergeable
from fl.peft_folders.folder import PeftFolder

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The adapters of a merge and their weights."""

    clients: tuple[PeftFolder, ...]
    weights: tuple[float, ...]
    previous: PeftFolder | None

    @property
    def first(self) -> PeftFolder:
        return self.clients[0]

    @property
    def previous_weight(self) -> float:
        rest = 1 - math.fsum(self.weights)
        return rest if abs(rest) > WEIGHT_SUM_TOLERANCE else 0.0

    def terms(self) -> list[tuple[PeftFolder, float]]:
        """Return the adapters with a non-zero weight; the weights sum to one."""
        found = list(zip(self.clients, self.weights, strict=True))
        if self.previous is not None:
            found.insert(0, (self.previous, self.previous_weight))
        return [(folder, weight) for folder, weight in found if weight]

    def require_fit(self, method: Method) -> None:
        """Raise ``ValueError`` if adapters do not fit each other or the method."""
        for other in self._others():
            require_alike(self.first, other)
        require_mergeable(
            method,
            [folder for folder, _ in self.terms()],
            has_previous=bool(self.previous_weight),
        )

    def layers(self) -> dict[str, LayerComponents]:
        """Return the components of each matrix, at the first adapter's scale."""
        folders, weights = zip(*self.terms(), strict=True)
        before = self.previous
        return {
            module: LayerComponents(
                tuple(self._pair(folder, module) for folder in folders),
                weights,
                None if before is None else self._pair(before, module),
            )
            for module in self.first.pairs
        }

    def adapter(self, merged: Mapping[str, MergedLayer], rest: Rest) -> PeftFolder:
        """Return the merged adapter, without the folds; ``rest`` merges what was
        trained outside LoRA."""
        folders, weights = zip(*self.terms(), strict=True)
        return PeftFolder(
            path=self.first.path,
            config=self.first.config,
            pairs=self._one_rank({m: layer.pair for m, layer in merged.items()}),
            scales=self.first.scales,
            magnitudes={
                module: merged_magnitudes(
                    [f.magnitudes[module] for f in folders], weights
                )
                for module in self.first.magnitudes
            },
            rest={
                name: _merged(name, [f.rest[name] for f in folders], weights, rest)
                for name in self.first.rest
            },
            is_double=self.is_double,
        )

    def folds(self, merged: Mapping[str, MergedLayer]) -> dict[str, Pair]:
        """Return the folds, LoRA scale included."""
        return {
            module: Pair(
                self._rounded(layer.fold.lora_b * self.first.scales[module]),
                self._rounded(layer.fold.lora_a),
            )
            for module, layer in merged.items()
            if layer.fold is not None
        }

    def written(self, layer: MergedLayer) -> list[Pair]:
        """Return the pair and the fold with the precision of the files."""
        return [Pair(*map(self._rounded, pair)) for pair in layer.sent]

    def notes(self, folds: bool, onto: Path | None) -> tuple[str, ...]:
        """Return the notes that a reader of the report needs."""
        others = self._others()
        folders = (self.first, *others)
        names = {base_name(folder.path, folder.config) for folder in folders}
        found = {
            "scales differ among the adapters: the difference is carried into B, and "
            "the result has the first one's": any(
                other.scales != self.first.scales for other in others
            ),
            f"the adapters name different bases ({', '.join(sorted(names))}); they "
            "must be one and the same model": len(names) > 1,
            f"the adapters' tokenizers differ: that of {self.first.path} is copied": (
                tokenizers_differ([folder.path for folder in folders])
            ),
            "HiRA: errors are those of B A, before the base multiplies it": (
                self.first.kind == "HIRA"
            ),
            "DoRA: lengths are averaged, which is not the exact average model": bool(
                self.first.magnitudes
            ),
            "part of the merge goes into the base: call "
            "fl.peft_folders.apply_base_delta(model, folder)": folds,
            f"what {onto} had in the base is carried over": onto is not None,
        }
        return tuple(note for note, is_so in found.items() if is_so)

    @property
    def is_double(self) -> bool:
        return any(folder.is_double for folder, _ in self.terms())

    def _others(self) -> list[PeftFolder]:
        return [*self.clients[1:], *([self.previous] if self.previous else [])]

    def _one_rank(self, pairs: dict[str, Pair]) -> dict[str, Pair]:
        """Return HiRA's pairs at one rank, since PEFT ignores its ``rank_pattern``."""
        if self.first.kind != "HIRA":
            return pairs
        rank = max(len(pair.lora_a) for pair in pairs.values())
        return {module: pad_rank(pair, rank) for module, pair in pairs.items()}

    def _pair(self, folder: PeftFolder, module: str) -> Pair:
        pair = folder.pairs[module]
        ratio = folder.scales[module] / self.first.scales[module]
        return pair if ratio == 1 else Pair(pair.lora_b * ratio, pair.lora_a)

    def _rounded(self, tensor: Tensor) -> Tensor:
        return tensor if self.is_double else tensor.float()


def _merged(
    name: str, tensors: Sequence[Tensor], weights: Sequence[float], rest: Rest
) -> Tensor:
    """Return the merge of a tensor; integers, such as positions, must be equal."""
    if tensors[0].is_floating_point():
        return rest(tensors, weights)
    if any(not tensor.equal(tensors[0]) for tensor in tensors):
        raise ValueError(f"{name} is not of floating-point numbers, and it differs")
    return tensors[0]

"""What a merge folds into the frozen base, as a file beside the adapter.

``base_delta.safetensors`` holds per adapted matrix ``W0`` [m, n], under the module's
name in the base model, either two factors ``<module>.fold_B`` [m, s] and
``<module>.fold_A`` [s, n] or one dense ``<module>.fold`` [m, n], whichever is less. The
LoRA scale is in them. The metadata say under ``rule`` how they act: ``add`` makes the
base ``W0 + fold_B fold_A``; ``multiply``, HiRA's, ``W0 (1 + fold_B fold_A)`` entry by
entry. Rows are outputs, also where the module keeps its weight turned, as GPT-2 does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fl.aggregation import Pair

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE_NAME = "base_delta.safetensors"
Rule: TypeAlias = Literal["add", "multiply"]


def write_base_delta(
    folder: Path,
    folds: Mapping[str, Pair],
    *,
    rule: Rule,
    is_dense: bool = False,
    onto: Path | None = None,
) -> None:
    """Write folds that have the scale in them; nothing where there are none.

    ``onto`` is a folder whose base delta was in the base already: the new file holds
    both changes.
    """
    tensors: dict[str, Tensor] = {}
    for module, (left, right) in folds.items():
        dense = len(left) * right.shape[1]
        if is_dense or len(right) * (len(left) + right.shape[1]) >= dense:
            tensors[f"{module}.fold"] = left @ right
        else:
            tensors[f"{module}.fold_B"] = left.contiguous()
            tensors[f"{module}.fold_A"] = right.contiguous()
    if onto is not None:
        tensors = _on_top(tensors, onto / FILE_NAME, rule)
    save_base_delta(folder, tensors, rule=rule)


def save_base_delta(folder: Path, tensors: Mapping[str, Tensor], *, rule: Rule) -> None:
    """Write tensors that are named as above, if there are any."""
    from safetensors.torch import save_file

    if not tensors:
        return
    metadata = {"format": "pt", "kind": "base-delta 1", "rule": rule}
    save_file(dict(tensors), folder / FILE_NAME, metadata=metadata)


def _on_top(tensors: Mapping[str, Tensor], path: Path, rule: Rule) -> dict[str, Tensor]:
    """Return one change that is the file's and then these, each matrix dense."""
    known, before = _read(path)
    if known != rule:
        raise ValueError(f"{path} is of rule {known!r}, the merge of rule {rule!r}")
    for module, fold in _dense(tensors).items():
        old = before.get(module)
        if old is None:
            before[module] = fold
        else:
            both = old + fold
            before[module] = both + old * fold if rule == "multiply" else both
    return {f"{module}.fold": fold for module, fold in before.items()}


def apply_base_delta(model: nn.Module, folder: str | Path) -> int:
    """Change the base weights of ``model`` in place by what ``folder`` holds.

    Returns the number of matrices changed: none where the merge folded nothing. Call it
    once, on the base or on the ``PeftModel``, before or after the adapter is loaded.
    """
    import torch

    path = Path(folder) / FILE_NAME
    if not path.exists():
        return 0
    rule, folds = _read(path)
    weights = dict(_base_weights(model))
    changes = [(_find(weights, name, fold, path), fold) for name, fold in folds.items()]
    with torch.no_grad():
        for weight, fold in changes:
            change = fold.to(weight.device)
            if rule == "multiply":
                change = change * weight
            weight.copy_(change + weight)  # added in the wider type of both
    return len(changes)


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Return the rule, and the fold of each module as one matrix."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata.get("kind") != "base-delta 1":
        raise ValueError(f"{path} is not a base delta that this version can read")
    return metadata["rule"], _dense(tensors)


def _dense(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the fold of each module as one matrix."""
    folds = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        if part == "fold":
            folds[module] = tensor
        elif part == "fold_B":
            folds[module] = tensor @ tensors[f"{module}.fold_A"]
    return folds


def _base_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of linear layers as [outputs, inputs], by the base's names."""
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    base = model.get_base_model() if isinstance(model, PeftModel) else model
    for name, module in base.named_modules():
        layer = (
            module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
        )
        if isinstance(layer, Conv1D):
            yield name, layer.weight.T
        elif isinstance(layer, nn.Linear):
            yield name, layer.weight


def _find(weights: Mapping[str, Tensor], name: str, fold: Tensor, path: Path) -> Tensor:
    if name not in weights:
        near = get_close_matches(name, weights, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{path} does not fit: no linear layer {name!r}{hint}")
    weight = weights[name]
    if weight.shape != fold.shape:
        raise ValueError(
            f"{path} does not fit: {name} is {tuple(weight.shape)}, its fold "
            f"{tuple(fold.shape)}"
        )
    if not weight.is_floating_point():
        raise ValueError(f"{name} is quantised; load the base in a floating-point type")
    return weight

"""The base delta: a file with the changes that merges fold into the frozen base.

``base_delta.safetensors`` has, for each adapted matrix ``W0`` [m, n] by its module name
in the base model, either two factors ``<module>.fold_B`` [m, s] and
``<module>.fold_A`` [s, n] or one dense ``<module>.fold`` [m, n], whichever is smaller.
They include the LoRA scale. ``rule`` in the metadata is ``add``, for the base
``W0 + fold_B fold_A``, or ``multiply`` (HiRA), for ``W0 (1 + fold_B fold_A)`` entry by
entry. Rows are outputs, even if the module stores its weight transposed, as in GPT-2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fl.aggregation import Pair
from fl.memory.files import regular
from fl.model.writing import tensors_written
from fl.peft_folders.folder import require_finite

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
    """Write folds, LoRA scale included; without folds no file is written.

    ``onto`` is a folder whose base delta is in the base already: the new file contains
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
        tensors = _composed(tensors, onto / FILE_NAME, rule)
    save_base_delta(folder, tensors, rule=rule)


def save_base_delta(folder: Path, tensors: Mapping[str, Tensor], *, rule: Rule) -> None:
    """Write tensors named as described above, if there are any."""
    from safetensors.torch import save_file

    if not tensors:
        return
    for name, tensor in tensors.items():
        require_finite(name, tensor)
    metadata = {"format": "pt", "kind": "base-delta 1", "rule": rule}
    with tensors_written(folder / FILE_NAME):
        save_file(dict(tensors), folder / FILE_NAME, metadata=metadata)


def rule_of(folder: Path) -> Rule:
    """Return the rule of a folder's base delta."""
    return "multiply" if _read(folder / FILE_NAME)[0] == "multiply" else "add"


def _composed(
    tensors: Mapping[str, Tensor], path: Path, rule: Rule
) -> dict[str, Tensor]:
    """Return the change of the file followed by these, as dense matrices."""
    known, before = _read(path)
    if known != rule:
        raise ValueError(f"{path} is of rule {known!r}, the merge of rule {rule!r}")
    for module, fold in _dense(tensors).items():
        old = before.get(module)
        if old is None:
            before[module] = fold
        elif old.shape != fold.shape:
            raise ValueError(
                f"{path} does not fit: {module} is {tuple(fold.shape)}, its fold "
                f"{tuple(old.shape)}"
            )
        else:
            both = old + fold
            before[module] = both + old * fold if rule == "multiply" else both
    return {f"{module}.fold": fold for module, fold in before.items()}


def apply_base_delta(model: nn.Module, folder: str | Path) -> int:
    """Apply a folder's base delta to ``model`` in place; return the matrices changed.

    The number is 0 if the merge folded nothing. Call this once, on the base or on the
    ``PeftModel``, before or after the adapter is loaded.
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
            weight.copy_(change + weight)  # added in the wider dtype
    return len(changes)


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Return the rule, and the dense fold of each module."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(regular(path), framework="pt") as file:
            metadata = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    rule = metadata.get("rule")
    if metadata.get("kind") != "base-delta 1" or rule not in ("add", "multiply"):
        raise ValueError(f"{path} is not a base delta that this version can read")
    try:
        return rule, _dense(found)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path} holds factors that do not fit: {error}") from error


def _dense(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    folds = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        if part == "fold":
            folds[module] = tensor
        elif part == "fold_B":
            folds[module] = tensor @ tensors[f"{module}.fold_A"]
    return folds


def _base_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield name in the base and weight [outputs, inputs] of each linear layer."""
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

"""The adapter's numbers and settings as a PEFT checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fl.model.adapters import ALL_LINEAR, Adapter, Layout, LoraSettings
from fl.model.writing import tensors_written

if TYPE_CHECKING:
    from peft import PeftConfig

BASE_FOLDER = "base"
LOCAL_BASE = f"./{BASE_FOLDER}"  # never an id of the hub
POOLED = "body."  # before every module of a mean-pooled classifier's encoder
_PREFIX = "base_model.model."


def peft_config(lora: LoraSettings) -> PeftConfig:
    """Return PEFT's configuration for these settings."""
    from peft import HiraConfig, LoraConfig

    is_all = lora.target_modules == ALL_LINEAR
    targets = ALL_LINEAR[0] if is_all else list(lora.target_modules)
    whole = list(lora.modules_to_save) or None
    if lora.peft_type == "hira":
        return HiraConfig(
            r=lora.r,
            hira_dropout=lora.lora_dropout,
            target_modules=targets,
            modules_to_save=whole,
        )
    alpha = lora.lora_alpha
    return LoraConfig(
        r=lora.r,
        # PEFT declares an int, but also computes with a float
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,  # type: ignore[arg-type]
        lora_dropout=lora.lora_dropout,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        target_modules=targets,
        modules_to_save=whole,
    )


def plain_module(module: str) -> str:
    """Return a module's name in the model that others load: a mean-pooled classifier's
    encoder stands alone."""
    return module.removeprefix(POOLED)


def _plain(parameter: str) -> str:
    return _PREFIX + plain_module(parameter.removeprefix(_PREFIX))


def write_checkpoint(
    folder: Path,
    adapter: Adapter,
    lora: LoraSettings,
    extra: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write ``adapter_config.json``, with ``extra`` in it, and
    ``adapter_model.safetensors``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = peft_config(lora).to_dict()
    config["inference_mode"] = True
    config.update(_patterns(adapter, lora))
    config.update(extra)
    text = json.dumps(config, indent=2, sort_keys=True, default=sorted)  # sets
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    named = adapter.tensors().items()
    tensors = {_plain(name): value.clone() for name, value in named}
    path = folder / "adapter_model.safetensors"
    with tensors_written(path):
        save_file(tensors, path, metadata={"format": "pt"})


def _patterns(adapter: Adapter, lora: LoraSettings) -> dict[str, Mapping[str, float]]:
    """Return PEFT's options for matrices of another rank than ``r``, at one scale."""
    own = {
        plain_module(module): len(lora_a)
        for module, (_, lora_a) in adapter.pairs().items()
        if len(lora_a) != lora.r
    }
    if not own:
        return {}
    alphas = {
        module: lora.scale * (rank**0.5 if lora.use_rslora else rank)
        for module, rank in own.items()
    }
    return {"rank_pattern": own, "alpha_pattern": alphas}


def read_checkpoint(folder: Path, layout: Layout) -> Adapter:
    """Return the adapter in a PEFT folder, which must have exactly this layout."""
    from safetensors.torch import load_file

    stored = load_file(folder / "adapter_model.safetensors")
    tensors = {_plain(name): tensor for name, tensor in stored.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted = {_plain(part.name): part.shape for part in layout.parts}
    for name in sorted(found.keys() | wanted.keys()):
        there, here = found.get(name, "absent"), wanted.get(name, "absent")
        if there != here:
            raise ValueError(
                f"{folder} does not fit the model: {name} is {there} in the folder and "
                f"{here} in the model"
            )
    return layout.pack({part.name: tensors[_plain(part.name)] for part in layout.parts})

"""PEFT's ``adapter_config.json``: supported options, ranks and scales."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl.memory.files import regular
from fl.peft_folders.patterns import matches

CONFIG_FILE = "adapter_config.json"
KINDS = ("LORA", "HIRA")
# With these options the change of the frozen weight is not simply B A.
UNSUPPORTED = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",  # which imports the module that megatron_core names
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
)
MAX_ALPHA = sys.float_info.max
# Options that PEFT reads when it loads an adapter, beside ranks and scales.
NAMES = ("base_model_name_or_path", "revision", "task_type")
PATTERNS = ("target_modules", "exclude_modules", "layers_pattern")
LISTS = ("modules_to_save", *PATTERNS)
PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration; raise ``ValueError`` if it cannot be merged."""
    path = folder / CONFIG_FILE
    config = _read_object(folder)
    kind = config.get("peft_type")
    if kind not in KINDS:
        raise ValueError(f"{path}: peft_type must be LORA or HIRA, got {kind!r}")
    for option in UNSUPPORTED:
        if config.get(option):
            raise ValueError(f"{path}: adapters with {option} cannot be merged")
    for pattern in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(pattern) or {}, dict):
            raise ValueError(f"{path}: {pattern} must be a mapping of names to numbers")
    try:
        _check_options(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    start = config.get("init_lora_weights")
    if start not in PLAIN_STARTS:
        raise ValueError(
            f"{path}: init_lora_weights {start!r} changes the base when it is loaded; "
            "convert the adapter to plain LoRA with save_pretrained("
            "…, path_initial_model_for_weight_conversion=…)"
        )
    return config


def _check_options(config: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where PEFT could not load it, or might never end."""
    for option in NAMES:
        value = config.get(option)
        if not isinstance(value, str | None):
            raise ValueError(f"{option} must be a text, got {value!r:.50}")
    for option in LISTS:
        value = config.get(option)
        names = [value] if isinstance(value, str | None) else value
        if not isinstance(names, list) or not all(
            isinstance(name, str | None) for name in names
        ):
            raise ValueError(f"{option} must be a list of names, got {value!r:.50}")
        if option in PATTERNS and isinstance(value, str):
            matches(value, option)


def _read_object(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ValueError(f"no adapter at {folder}: there is no such folder")
    path = folder / CONFIG_FILE
    regular(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{folder} is no PEFT adapter: no {CONFIG_FILE} in it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} must be a JSON object")
    return config


def scale_of(folder: Path, config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return the factor of B A; the rank must be that of the configuration."""
    try:
        stated = _of_module(config, "rank_pattern", "r", module)
        alpha = _of_module(config, "alpha_pattern", "lora_alpha", module)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE}: {error}") from error
    if stated != rank:
        raise ValueError(
            f"{folder}: {module} has rank {rank}, its {CONFIG_FILE} says {stated!r}"
        )
    if config["peft_type"] == "HIRA":
        return 1.0
    if (
        isinstance(alpha, bool)
        or not isinstance(alpha, int | float)
        or not 0 < alpha <= MAX_ALPHA
    ):
        shown = str(alpha)[:50]
        raise ValueError(
            f"{folder}: lora_alpha must be positive and finite, got {shown}"
        )
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _of_module(
    config: Mapping[str, Any], pattern: str, key: str, module: str
) -> object:
    """Return a module's value as in PEFT: that of the first pattern that matches."""
    for regex, value in (config.get(pattern) or {}).items():
        if matches(regex, module):
            return value
    return config.get(key)


def with_ranks(
    config: Mapping[str, Any], ranks: Mapping[str, int], scales: Mapping[str, float]
) -> dict[str, Any]:
    """Return a configuration that gives each module its rank and scale in PEFT."""
    new = {**config, "inference_mode": True}
    if _has_ranks(new, ranks, scales):
        return new
    new["r"] = Counter(ranks.values()).most_common(1)[0][0]
    new["rank_pattern"] = _exceptions(ranks, new["r"])
    if new["peft_type"] == "LORA":
        alphas = {m: _int_if_whole(scales[m] * rank) for m, rank in ranks.items()}
        new["use_rslora"] = False
        new["lora_alpha"] = Counter(alphas.values()).most_common(1)[0][0]
        new["alpha_pattern"] = _exceptions(alphas, new["lora_alpha"])
    return new


def _has_ranks(
    config: Mapping[str, Any], ranks: Mapping[str, int], scales: Mapping[str, float]
) -> bool:
    try:
        return all(
            scale_of(Path(), config, module, rank) == scales[module]
            for module, rank in ranks.items()
        )
    except ValueError:
        return False


def _exceptions(values: Mapping[str, float], usual: float) -> dict[str, float]:
    return {f"^{re.escape(m)}": v for m, v in values.items() if v != usual}


def _int_if_whole(value: float) -> float:
    return int(value) if value.is_integer() else value

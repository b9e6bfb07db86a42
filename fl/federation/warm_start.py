"""A warm start: the numbers of a PEFT folder, checked without loading a model.

Names and shapes stand in the head of a safetensors file, so that a folder is compared
with the settings, and with the counts of the model, where torch is not imported.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from fl.memory.files import regular
from fl.model.adapters import ALL_LINEAR, Adapter, LoraSettings
from fl.peft_folders.config import MAX_ALPHA, UNSUPPORTED
from fl.tasks.data_files import absolute, path_text, scenario_folder

if TYPE_CHECKING:
    from fl.costs import ModelCosts
    from fl.model.lora_model import LoraModel

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
FOLDED = "base_delta.safetensors"
FLOATS = {"F64", "F32", "F16", "BF16"}
_PREFIX = "base_model.model."
_FACTORS = (".lora_A.", ".lora_B.", ".hira_A", ".hira_B", ".lora_magnitude_vector")
_UNSUPPORTED = ("rank_pattern", "alpha_pattern", "velora_config", *UNSUPPORTED)
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")  # by initialisation


class DoesNotFit(ValueError):
    """A start whose numbers are not those of the model to train."""


def _placed(value: str, info: ValidationInfo) -> str:
    """Return the absolute adapter folder of an adapter, or of one of our runs."""
    folder = absolute(value, scenario_folder(info) or Path())
    if not folder.is_dir():
        raise ValueError(f"must be a folder with a PEFT adapter, got '{folder}'")
    if not (folder / CONFIG).is_file() and (folder / "adapter").is_dir():
        folder /= "adapter"
    if not (folder / CONFIG).is_file():
        raise ValueError(f"'{folder}' has no {CONFIG}: it is no PEFT adapter")
    if not (folder / TENSORS).is_file():
        pickled = (folder / "adapter_model.bin").exists()
        hint = " (adapter_model.bin is a pickle, which is never read)" * pickled
        raise ValueError(f"'{folder}' has no {TENSORS}{hint}")
    if (folder / FOLDED).exists():
        raise ValueError(
            f"'{folder}' holds {FOLDED}: its method adds to the base model, and a "
            "start replaces the adapter only"
        )
    return str(folder)


# a field that holds the folder of an adapter, or of a run of ours
StartFolder = Annotated[str, BeforeValidator(path_text), AfterValidator(_placed)]


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of a safetensors file: each one's shape by its name."""

    shapes: Mapping[str, tuple[int, ...]]

    def factors(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what belongs to adapted layers."""
        found = self.shapes.items()
        return {n: s for n, s in found if any(mark in n for mark in _FACTORS)}

    def whole(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what was trained outside LoRA."""
        adapted = self.factors()
        return {n: s for n, s in self.shapes.items() if n not in adapted}


def read_header(path: Path) -> Header:
    """Return the metadata of a safetensors file, or refuse a damaged one."""
    from safetensors import SafetensorError, safe_open

    regular(path)
    try:
        with safe_open(path, framework="numpy") as file:  # reads no numbers
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            types = {str(one.get_dtype()) for one in found.values()}
            shapes = {name: tuple(one.get_shape()) for name, one in found.items()}
    except SafetensorError as error:
        raise ValueError(
            f"'{path}' is damaged or no safetensors file: {error}"
        ) from error
    if types - FLOATS:
        raise ValueError(f"'{path}' holds {min(types - FLOATS)} numbers, not floats")
    return Header(shapes)


def require_settings(folder: Path, lora: LoraSettings) -> None:
    """Refuse a start made with other settings; every mismatch names both values."""
    try:
        config = json.loads(regular(folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{folder / CONFIG}' is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"'{folder / CONFIG}' must be a mapping")
    header = read_header(folder / TENSORS)
    found = [
        *_other_kind(config, lora),
        *_unsupported(config),
        *_other_targets(header, lora),
        *_other_whole(header, lora),
    ]
    if found:
        raise ValueError(f"'{folder}' does not fit: {'; '.join(found)}")


def _differs(what: str, start: object, scenario: object) -> str:
    return f"{what} is {start} in the start and {scenario} in learning.lora"


def _other_kind(config: Mapping[str, Any], lora: LoraSettings) -> Iterator[str]:
    """Yield another kind of layer, rank or scale."""
    kind = str(config.get("peft_type")).lower()
    if kind != lora.peft_type:
        yield _differs("peft_type", kind, lora.peft_type)
        return
    if config.get("r") != lora.r:
        yield _differs("r", f"{config.get('r')!r:.50}", lora.r)
    if kind != "lora":
        return
    is_dora = bool(config.get("use_dora"))
    if is_dora != lora.use_dora:
        yield _differs("use_dora", str(is_dora).lower(), str(lora.use_dora).lower())
    theirs = _scale(
        config.get("lora_alpha"), config.get("r"), bool(config.get("use_rslora"))
    )
    ours = _scale(lora.lora_alpha, lora.r, lora.use_rslora)
    if theirs != ours:
        yield _differs("the scale", theirs, ours)


def _scale(alpha: object, rank: object, is_stabilised: bool) -> str:
    """Return the factor before B A, and what it is made of."""
    if not (isinstance(alpha, int | float) and 0 < alpha <= MAX_ALPHA) or not (
        isinstance(rank, int) and 1 <= rank <= MAX_ALPHA
    ):
        return f"unknown (lora_alpha {alpha!s:.50}, r {rank!s:.50})"
    scale = alpha / (math.sqrt(rank) if is_stabilised else rank)
    return f"{scale:.9g}"


def _unsupported(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an adapter of ours never has."""
    for key in _UNSUPPORTED:
        if config.get(key):
            yield f"it has {key} {config[key]!r}, which this simulator does not train"
    if config.get("bias", "none") != "none":
        yield f"it trains bias {config['bias']!r}, which this simulator does not"
    how = str(config.get("init_lora_weights", "")).lower()
    if how.startswith(_CHANGES_BASE):
        yield f"init_lora_weights {how!r} changed its base model, not the adapter alone"


def _other_targets(header: Header, lora: LoraSettings) -> Iterator[str]:
    """Yield other adapted modules, or factors of another rank than ``r``."""
    factors = header.factors()
    modules = sorted({_module(name) for name in factors})
    wanted = lora.target_modules
    if wanted != ALL_LINEAR:
        fits = [any(f".{m}".endswith(f".{name}") for name in wanted) for m in modules]
        used = [any(f".{m}".endswith(f".{name}") for m in modules) for name in wanted]
        if not all([*fits, *used]):
            theirs = sorted({module.rpartition(".")[2] for module in modules})
            yield _differs("target_modules", theirs, sorted(wanted))
    for name, shape in factors.items():
        rank_dim = {"_A": 0, "_B": -1}.get(name.removesuffix(".weight")[-2:])
        if rank_dim is not None and (not shape or shape[rank_dim] != lora.r):
            yield f"{name} is {list(shape)} in the start, of another rank than {lora.r}"
            return


def _other_whole(header: Header, lora: LoraSettings) -> Iterator[str]:
    """Yield other modules that are trained outside LoRA."""
    paths = {name.removeprefix(_PREFIX).rpartition(".")[0] for name in header.whole()}
    wanted = lora.modules_to_save
    fits = [any(_is_within(path, name) for name in wanted) for path in paths]
    used = [any(_is_within(path, name) for path in paths) for name in wanted]
    if not all([*fits, *used]):
        yield _differs("modules_to_save", sorted(paths), sorted(wanted))


def _is_within(path: str, name: str) -> bool:
    return f".{name}." in f".{path}."


def _module(name: str) -> str:
    """Return the adapted module of a factor's name."""
    inner = name.removeprefix(_PREFIX)
    places = [inner.index(mark) for mark in _FACTORS if mark in inner]
    return inner[: min(places)]


def require_sizes(folder: Path, costs: ModelCosts, lora: LoraSettings) -> None:
    """Refuse a start that has not as many numbers as the model's adapter."""
    header = read_header(folder / TENSORS)
    whole = sum(map(math.prod, header.whole().values()))
    total = sum(map(math.prod, header.shapes.values()))
    outside = costs.rest.num_numbers
    if lora.use_dora:  # magnitudes are counted with what has no rank
        whole, outside = total, costs.extent(lora.r).num_numbers
    for what, found, wanted in (
        ("tensors", len(header.shapes), costs.extent(lora.r).num_tensors),
        ("numbers outside LoRA", whole, outside),
        ("numbers in all", total, costs.extent(lora.r).num_numbers),
    ):
        if found != wanted:
            raise ValueError(
                f"'{folder}' does not fit the model: it has {found} {what}, the "
                f"model's adapter has {wanted}"
            )


def content_digest(folder: Path) -> str:
    """Return the digest of a start's numbers, as they lie in the file."""
    with (folder / TENSORS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def start_adapter(folder: Path, lora_model: LoraModel) -> Adapter:
    """Return a start's numbers in the model's layout and type, read at each call."""
    import torch

    from fl.model.checkpoint import read_checkpoint

    try:
        adapter = read_checkpoint(folder, lora_model.layout)
    except ValueError as error:
        raise DoesNotFit(str(error)) from error
    if not bool(torch.isfinite(adapter.flat).all()):
        raise DoesNotFit(f"'{folder}' holds numbers that are not finite")
    return Adapter(adapter.layout, adapter.flat.to(lora_model.dtype))

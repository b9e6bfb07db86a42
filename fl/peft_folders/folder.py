"""Reading, checking and writing of PEFT adapter folders."""

from __future__ import annotations

import glob
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fl.aggregation import Pair
from fl.aggregation.components import double
from fl.memory.files import regular
from fl.model.writing import tensors_written
from fl.peft_folders.config import CONFIG_FILE, read_config, scale_of, with_ranks

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"
PREFIX = "base_model.model."
DRAFT = ".unfinished"
FACTORS = {
    "LORA": {"A": "lora_A.weight", "B": "lora_B.weight"},
    "HIRA": {"A": "hira_A", "B": "hira_B"},
}
MAGNITUDE = "lora_magnitude_vector"
_TENSOR = re.compile(
    r"base_model\.model\.(?P<module>.+)\."
    r"(?:(?:lora|hira)_(?P<factor>[AB])(?:\.weight)?"
    rf"|(?P<magnitude>{MAGNITUDE})(?:\.weight)?)"
)


@dataclass(frozen=True, slots=True, eq=False)
class PeftFolder:
    """An adapter, by module names of the base model.

    Factors are float64; whole modules and magnitudes are float32 or wider.
    """

    path: Path
    config: dict[str, Any]  # adapter_config.json
    pairs: dict[str, Pair]
    scales: dict[str, float]  # 1 for HiRA
    magnitudes: dict[str, Tensor] = field(default_factory=dict)  # DoRA's
    rest: dict[str, Tensor] = field(default_factory=dict)  # whole modules, by key
    is_double: bool = False  # whether the file has float64 numbers

    @property
    def kind(self) -> Literal["LORA", "HIRA"]:
        """Return PEFT's name of the adapter type."""
        return "HIRA" if self.config["peft_type"] == "HIRA" else "LORA"

    def rounded(self, tensor: Tensor) -> Tensor:
        """Return a copy in the dtype to be written: float64 if the file has it."""
        import torch

        if not tensor.is_floating_point():
            return tensor.clone()
        dtype = torch.float64 if self.is_double else torch.float32
        return tensor.to(dtype, copy=True).contiguous()


def read_peft_folder(path: str | Path) -> PeftFolder:
    """Return the adapter in a folder; weights are read from safetensors only."""
    import torch

    folder = Path(path)
    config = read_config(folder)
    tensors = _read_tensors(folder)
    factors: dict[tuple[str, str], Tensor] = {}
    magnitudes, rest = {}, {}
    for name, tensor in tensors.items():
        found = _TENSOR.fullmatch(name)
        if found is None:
            _require_whole(folder, name)
            rest[name] = tensor
        elif found["magnitude"]:
            magnitudes[found["module"]] = tensor
        else:
            factors[found["module"], found["factor"]] = tensor
    pairs = {
        module: _pair(folder, module, factors)
        for module in dict.fromkeys(module for module, _ in factors)
    }
    if not pairs:
        raise ValueError(f"{folder / WEIGHTS_FILE} holds no LoRA or HiRA factors")
    scales = {
        module: scale_of(folder, config, module, len(pair.lora_a))
        for module, pair in pairs.items()
    }
    is_double = any(tensor.dtype == torch.float64 for tensor in tensors.values())
    return PeftFolder(folder, config, pairs, scales, magnitudes, rest, is_double)


def write_peft_folder(folder: Path, adapter: PeftFolder) -> None:
    """Write an adapter and a configuration with its ranks and scales."""
    from safetensors.torch import save_file

    ranks = {module: len(pair.lora_a) for module, pair in adapter.pairs.items()}
    config = with_ranks(adapter.config, ranks, adapter.scales)
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    names = FACTORS[adapter.kind]
    tensors = dict(adapter.rest)
    for module, pair in adapter.pairs.items():
        tensors[f"{PREFIX}{module}.{names['A']}"] = pair.lora_a
        tensors[f"{PREFIX}{module}.{names['B']}"] = pair.lora_b
    for module, magnitude in adapter.magnitudes.items():
        tensors[f"{PREFIX}{module}.{MAGNITUDE}"] = magnitude
    own = {name: adapter.rounded(tensor) for name, tensor in tensors.items()}
    for name, tensor in own.items():
        require_finite(name, tensor)
    with tensors_written(folder / WEIGHTS_FILE):
        save_file(own, folder / WEIGHTS_FILE, metadata={"format": "pt"})


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield a draft folder, which is renamed to ``path`` if the block succeeds.

    Of several processes with drafts for one path the first to end gives it its own, and
    removes the others', also those that killed processes have left; the others raise
    ``ValueError``. This needs no lock.
    """
    folder = Path(path)
    require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{DRAFT}")
    draft.mkdir()
    try:
        yield draft
        require_free(folder)
        _put_in_place(draft, folder)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError):  # another process was first, and has removed it
            require_free(folder)
        raise
    with suppress(OSError):  # the merge is whole in any case
        for other in folder.parent.glob(f".{glob.escape(folder.name)}.*{DRAFT}"):
            shutil.rmtree(other, ignore_errors=True)


def _put_in_place(draft: Path, folder: Path) -> None:
    """Rename a draft, on the disk under its new name or not at all."""
    if folder.exists():
        folder.rmdir()
    for path in (*draft.rglob("*"), draft):
        _sync(path)
    draft.rename(folder)
    try:
        _sync(folder.parent)
    except OSError:
        folder.rename(draft)
        raise


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_free(folder: Path) -> None:
    """Raise ``ValueError`` if the path is a file or a folder that is not empty."""
    if folder.is_symlink() and not folder.exists():
        raise ValueError(f"{folder} is a link to nothing; remove it, or choose another")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, not a folder")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; choose another folder")


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors: finite, in float32 or wider, integers unchanged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    if not path.exists():
        if (folder / PICKLE_FILE).exists():
            raise ValueError(
                f"{folder} has only {PICKLE_FILE}, a pickle, which can run any code "
                "when it is opened; save the adapter as safetensors (PEFT's default)"
            )
        raise ValueError(f"{folder} is no PEFT adapter: no {WEIGHTS_FILE} in it")
    regular(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return {name: _widened(path, name, tensor) for name, tensor in tensors.items()}


def _widened(path: Path, name: str, tensor: Tensor) -> Tensor:
    import torch

    if tensor.is_complex():
        raise ValueError(f"{path}: {name} has complex numbers, which cannot be merged")
    if not tensor.is_floating_point():
        return tensor
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    if not wide.isfinite().all():
        raise ValueError(f"{path}: {name} is not finite")
    return wide


def require_finite(name: str, tensor: Tensor) -> None:
    """Raise ``ValueError`` if a merged tensor is not finite as it would be written."""
    if not tensor.isfinite().all():
        raise ValueError(
            f"the merged {name} is not finite in {str(tensor.dtype)[6:]}: numbers, "
            "scales or weights of the adapters are too large"
        )


def _require_whole(folder: Path, name: str) -> None:
    if re.search(r"\.(lora|hira)_", name):
        raise ValueError(
            f"{folder}: {name} is not a factor of a linear layer; embeddings, "
            "convolutions and biases of adapters cannot be merged"
        )


def _pair(folder: Path, module: str, factors: Mapping[tuple[str, str], Tensor]) -> Pair:
    for factor in "AB":
        if (module, factor) not in factors:
            raise ValueError(f"{folder}: {module} lacks its factor {factor}")
    pair = Pair(factors[module, "B"], factors[module, "A"])
    if not all(factor.is_floating_point() for factor in pair):
        raise ValueError(
            f"{folder}: the factors of {module} are whole numbers, as quantisation "
            "leaves them; save the adapter in floating point"
        )
    shapes = tuple(pair.lora_b.shape), tuple(pair.lora_a.shape)
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][0]:
        raise ValueError(
            f"{folder}: {module} is not adapted by two matrices of one rank: B is "
            f"{shapes[0]}, A is {shapes[1]}"
        )
    if not shapes[0][1]:
        raise ValueError(f"{folder}: {module} has rank 0")
    return double(pair)

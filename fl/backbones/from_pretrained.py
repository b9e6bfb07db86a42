"""A pre-trained backbone: from a local folder, or from the hub by its id."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from fl.backbones.backbone import Origin, Precision
from fl.backbones.families import (
    auto_class,
    first_line,
    name_attention,
    prepared,
    quiet_transformers,
    require_length,
)
from fl.backbones.tokenizers import folder_tokenizer
from fl.memory import recipe
from fl.record import Record
from fl.streams import forked
from fl.tasks import Source, Tokenizer
from fl.tasks.data_files import absolute, file_digest, scenario_folder, unreachable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CARD_FILE = "README.md"
_LICENCE = re.compile(r"^license: *([\w.+-]+) *$", re.MULTILINE)
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
_MAY_BE_NEW = ("pooler",)  # missing from checkpoints of other objectives


class FromPretrained(Record):
    """A local model folder, or a hub id such as ``owner/name``; safetensors only.

    ``path`` is a folder if it exists relative to the scenario, otherwise an id. A
    classification head with other labels than the task's is initialised from ``seed``.
    ``pooling: mean`` classifies the mean of a text's token vectors, for which sentence
    encoders are trained, instead of what the family uses.
    """

    kind: Literal["pretrained"] = "pretrained"
    path: str = Field(min_length=1)
    revision: str | None = None
    pooling: Literal["mean"] | None = None
    dtype: Precision = "float32"
    seed: int = Field(default=0, ge=0)
    trust_remote_code: Literal[False] = False  # a model folder is data

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str, info: ValidationInfo) -> str:
        folder = absolute(value, scenario_folder(info) or Path())
        if folder.is_dir():
            _require_model_folder(folder)
            return str(folder)
        if Path(value).is_absolute() or not _HUB_ID.fullmatch(value):
            raise ValueError(
                f"must be a model's folder or a hub id such as 'owner/name', got "
                f"{value!r} (no folder '{folder}')"
            )
        return value

    @field_validator("revision")
    @classmethod
    def _check_revision(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and Path(info.data.get("path", "")).is_absolute():
            raise ValueError("must be left out for a local folder")
        return value

    def digest(self, task: Source) -> str:
        """Return the digest of the model's files or hub commit, and of its settings."""
        tokenizer = self.tokenizer(task)
        made = {
            "content": self._content(),
            "tokenizer": None if tokenizer is None else tokenizer.digest,
            "objective": task.objective,
            "num_labels": task.num_labels,
            "pooling": self.pooling,
            "dtype": self.dtype,
            "head_seed": self.seed,
            "trust_remote_code": self.trust_remote_code,
        }
        return recipe.digest("pretrained 1", made)

    def tokenizer(self, task: Source) -> Tokenizer | None:
        """Return the tokenizer saved with the weights."""
        if task.objective == "image-classification":
            return None
        return folder_tokenizer(self._folder(_SMALL_FILES))

    def load(self, task: Source) -> PreTrainedModel:
        """Return the model with a head for the task."""
        if self.pooling is not None and task.objective != "text-classification":
            raise ValueError(
                "backbone.pooling must be left out: only texts with labels are pooled, "
                f"and the task is {task.objective}"
            )
        folder = self._folder((*_SMALL_FILES, "*.safetensors"))
        _require_model_folder(folder)
        with forked(self.seed, "head init"), quiet_transformers():
            model, new_weights = _loaded(folder, task, self)
        model.origin = self._origin(new_weights)  # type: ignore[assignment]
        require_length(task, model.config)
        if model.config.pad_token_id is None:
            tokenizer = self.tokenizer(task)
            model.config.pad_token_id = None if tokenizer is None else tokenizer.pad_id
        return prepared(model, task, self.dtype)

    def _content(self) -> recipe.Json:
        if self._is_local:
            return _folder_files(Path(self.path))
        return {"id": self.path, "commit": self._commit()}

    def _origin(self, new_weights: frozenset[str]) -> Origin:
        return Origin(
            name=self.path,
            revision=None if self._is_local else self._commit(),
            files=_folder_files(self._folder(("config.json",))),
            licence=_licence(self._folder((CARD_FILE,))),
            new_weights=new_weights,
            has_mean_pooling=self.pooling == "mean",
        )

    @property
    def _is_local(self) -> bool:
        return Path(self.path).is_absolute()

    def _commit(self) -> str:
        return self._folder(("config.json",)).name

    def _folder(self, patterns: tuple[str, ...]) -> Path:
        """Return a folder with these files, after a download if they are on the hub."""
        if self._is_local:
            return Path(self.path)
        return _snapshot(self.path, self.revision, patterns)


@lru_cache(maxsize=32)
def _snapshot(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    """Return the folder of the hub's snapshot, which is named by its commit."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=list(patterns)
        )
    except (OSError, ValueError) as error:
        what = f"backbone.path: {name!r} is not a folder, and as a hub id it"
        raise ValueError(unreachable(what, error)) from error
    return Path(folder)


def _require_model_folder(folder: Path) -> None:
    """Raise ``ValueError`` unless the folder has a configuration and safetensors."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"'{folder}' holds no config.json: is this a model's folder?")
    if not list(folder.glob("*.safetensors")):
        others = sorted(p.name for p in folder.glob("*.bin"))
        found = f" but {', '.join(others)}, which can hide code" if others else ""
        raise ValueError(
            f"'{folder}' holds no *.safetensors{found}; save the model with "
            "`model.save_pretrained(folder)`"
        )


def _folder_files(folder: Path) -> dict[str, str]:
    """Return the digests of the files that determine the model."""
    paths = [folder / "config.json", *folder.glob("*.safetensors*")]
    return {path.name: file_digest(path) for path in sorted(paths)}


def _licence(folder: Path) -> str | None:
    """Return the licence that a model's own card names, if its folder has one."""
    card = folder / CARD_FILE
    if not card.is_file():
        return None
    found = _LICENCE.search(card.read_text(encoding="utf-8", errors="replace")[:4096])
    return None if found is None else found[1]


def _loaded(
    folder: Path, task: Source, backbone: FromPretrained
) -> tuple[PreTrainedModel, frozenset[str]]:
    """Return the model, and the names of its weights that the files lack."""
    import torch

    shared = {
        "local_files_only": True,
        "trust_remote_code": False,
        **({"num_labels": task.num_labels} if task.num_labels else {}),
    }
    try:
        model, report = _loader(folder, task, backbone, shared)(
            folder,
            dtype=getattr(torch, backbone.dtype),
            use_safetensors=True,
            ignore_mismatched_sizes=bool(task.num_labels),
            output_loading_info=True,
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever a stranger's files make the library do
        raise ValueError(f"backbone.path: '{folder}': {first_line(error)}") from error
    if task.num_labels:
        model.config.problem_type = "single_label_classification"
    new = {str(name) for name in report["missing_keys"]}
    new |= {str(key[0]) for key in report["mismatched_keys"]}
    _require_complete_body(model, new, folder)
    return model, frozenset(new)


def _loader(
    folder: Path, task: Source, backbone: FromPretrained, shared: dict[str, Any]
) -> Callable[..., Any]:
    """Return the function that loads the weights from a folder."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, **shared)
    name_attention(config, None)
    if backbone.pooling is None:
        loaded = auto_class(task.objective).from_pretrained
    else:
        from fl.backbones.mean_pooling import MeanPooledClassifier

        loaded = MeanPooledClassifier.from_pretrained
    return partial(loaded, config=config, local_files_only=True)


def _require_complete_body(
    model: PreTrainedModel, names: set[str], folder: Path
) -> None:
    """Raise ``ValueError`` if weights are missing that are not the head's."""
    body = f"{model.base_model_prefix}."
    lacking = sorted(
        name
        for name in names
        if name.startswith(body) and not any(part in name for part in _MAY_BE_NEW)
    )
    if lacking:
        raise ValueError(
            f"backbone.path: '{folder}' is not a complete {model.config.model_type!r}: "
            f"{lacking[0]} is missing ({len(lacking)} in all)"
        )

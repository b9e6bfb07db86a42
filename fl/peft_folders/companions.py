"""What an adapter folder holds besides numbers: tokenizer, model card, own base."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fl.backbones.tokenizers import TOKENIZER_FILES
from fl.memory import recipe
from fl.model.checkpoint import BASE_FOLDER, LOCAL_BASE
from fl.model.model_card import CARD_FILE, folds_text, without_folds
from fl.peft_folders.base_delta import FILE_NAME, rule_of
from fl.tasks.data_files import file_digest

FILES = (*TOKENIZER_FILES, "added_tokens.json", "chat_template*", "*_chat_templates/*")


def base_name(folder: Path, config: dict[str, Any]) -> str:
    """Return what identifies an adapter's base model: its name, or the digest
    of the copy that lies in the folder."""
    name = str(config.get("base_model_name_or_path"))
    if name != LOCAL_BASE:
        return name
    return f"{name} {_digest(folder / BASE_FOLDER, ('*',))[:12]}"


def tokenizers_differ(folders: Sequence[Path]) -> bool:
    """Return whether adapters have tokenizers, and not all the same."""
    return len({_digest(folder, FILES) for folder in folders}) > 1


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy a folder's tokenizer, if there is one."""
    for path in _files(source, FILES):
        target = folder / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)


def copy_companions(source: Path, config: dict[str, Any], folder: Path) -> None:
    """Copy an adapter's tokenizer and, where it has its base model in itself, that."""
    copy_tokenizer(source, folder)
    if config.get("base_model_name_or_path") == LOCAL_BASE:
        (folder / BASE_FOLDER).mkdir()
        for path in _files(source / BASE_FOLDER, ("*",)):
            shutil.copyfile(path, folder / BASE_FOLDER / path.name)


def write_card(
    source: Path, folder: Path, method: str, shares: dict[str, float]
) -> None:
    """Write the model card of a merged adapter: its source's, how it was merged, and
    the lines that apply its own base delta."""
    card = source / CARD_FILE
    text = "# LoRA adapter\n"
    if card.is_file():
        text = without_folds(card.read_text(encoding="utf-8", errors="replace"))
    lines = [f"* `{name}`: {share:.6g}" for name, share in shares.items()]
    merged = [f"Merged by `{method}` of these adapters, with their weights:", *lines]
    if (folder / FILE_NAME).exists():
        text += folds_text(rule_of(folder))
    (folder / CARD_FILE).write_text(
        "\n".join([text.rstrip("\n"), "", *merged, ""]), encoding="utf-8"
    )


def _digest(folder: Path, patterns: Sequence[str]) -> str:
    found = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in _files(folder, patterns)
    }
    return recipe.digest("companions", {"files": found})


def _files(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    """Yield a folder's regular files; pipes are not read."""
    paths = {path for pattern in patterns for path in folder.glob(pattern)}
    yield from sorted(path for path in paths if path.is_file())

"""The model card of an adapter folder: ``README.md`` with the lines that load it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fl.backbones.backbone import Origin
from fl.tasks import Objective

CARD_FILE = "README.md"
_CLASSES = {
    "image-classification": "AutoModelForImageClassification",
    "text-classification": "AutoModelForSequenceClassification",
    "causal": "AutoModelForCausalLM",
}
_LICENCE = re.compile(r"^license: *([\w.+-]+) *$", re.MULTILINE)
_POOLING = """
The head classifies the mean of a text's token vectors, which no class of transformers
does for this family:

```python
import torch
from safetensors.torch import load_file

head = load_file(f"{folder}/adapter_model.safetensors")
weight = head["base_model.model.classifier.weight"]
bias = head["base_model.model.classifier.bias"]


def classify(texts):
    tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    mask = tokens["attention_mask"].unsqueeze(-1)
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state
        return (states * mask).sum(1) / mask.sum(1) @ weight.T + bias
```
"""
_FOLDS = """
The method also changed the base model. Add these changes once, after the lines above:

```python
from safetensors.torch import load_file

for name, change in load_file(f"{{folder}}/base_delta.safetensors").items():
    base.get_submodule(name.removesuffix(".fold")).weight.data += change{turned}
```
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a model card says."""

    objective: Objective
    origin: Origin
    copied_from: Origin | None
    num_labels: int
    dtype: str
    pad_token_id: int | None
    has_folds: bool
    is_transposed: bool
    licence: str | None


def base_licence(folder: Path | None) -> str | None:
    """Return the licence that a base model's own card names, if its folder has one."""
    card = None if folder is None else folder / CARD_FILE
    if card is None or not card.is_file():
        return None
    found = _LICENCE.search(card.read_text(encoding="utf-8", errors="replace")[:4096])
    return None if found is None else found[1]


def card_text(card: Card) -> str:
    """Return the model card, in Markdown with its YAML head."""
    named = card.copied_from or card.origin
    is_own = named.name.startswith("./")
    head = ["library_name: peft", "tags: [lora, federated-learning]"]
    head += [] if is_own else [f"base_model: {_quoted(named.name)}"]
    head += [f"license: {card.licence}"] if card.licence else []
    return "\n".join(
        [
            "---",
            *head,
            "---",
            "",
            "# LoRA adapter of a federated run",
            "",
            *_origin_lines(card, named, is_own=is_own),
            "",
            "```python",
            *_loading_lines(card),
            "```",
            *([_FOLDS.format(turned=".T" * card.is_transposed)] * card.has_folds),
            *([_POOLING] * card.origin.has_mean_pooling),
            "",
        ]
    )


def _origin_lines(card: Card, named: Origin, *, is_own: bool) -> list[str]:
    """Return sentences about the base model: where it is, and how to know it."""
    if is_own:
        return ["The base model was made by the run and lies in `base/`."]
    revision = f", revision `{named.revision}`" if named.revision else ""
    copied = "; `base/` holds a copy" if card.copied_from else ""
    lines = [f"The base model is `{named.name}`{revision}{copied}."]
    lines += [f"* `{name}`: SHA-256 `{digest}`" for name, digest in named.files.items()]
    if card.licence is None:
        lines.append("It names no licence: ask its makers.")
    return lines


def _loading_lines(card: Card) -> list[str]:
    """Return the lines of Python that load base, adapter and tokenizer."""
    family = _CLASSES[card.objective]
    if card.origin.has_mean_pooling:
        family = "AutoModel"
    is_local = card.origin.name.startswith("./")
    where = 'f"{folder}/base"' if is_local else repr(card.origin.name)
    values: dict[str, object] = {"revision": card.origin.revision, "dtype": card.dtype}
    if family == _CLASSES["text-classification"]:
        values["pad_token_id"] = card.pad_token_id
    if card.num_labels and family != "AutoModel":
        values |= {"num_labels": card.num_labels, "ignore_mismatched_sizes": True}
    given = "".join(f", {n}={v!r}" for n, v in values.items() if v is not None)
    has_texts = card.objective != "image-classification"
    tokenizer = "tokenizer = AutoTokenizer.from_pretrained(folder)"
    return [
        "from peft import PeftModel",
        f"from transformers import {family}{', AutoTokenizer' * has_texts}",
        "",
        'folder = "."  # of this file',
        f"base = {family}.from_pretrained({where}{given})",
        "model = PeftModel.from_pretrained(base, folder).eval()",
        *([tokenizer] * has_texts),
    ]


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"

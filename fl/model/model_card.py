"""The model card of an adapter folder: ``README.md`` with the lines that load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fl.backbones.backbone import Origin
from fl.tasks import Objective

CARD_FILE = "README.md"
_CLASSES = {
    "image-classification": "AutoModelForImageClassification",
    "text-classification": "AutoModelForSequenceClassification",
    "causal": "AutoModelForCausalLM",
}
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
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        means = (states * mask).sum(1) / mask.sum(1)
        return means.to(weight.dtype) @ weight.T + bias
```
"""
_FLOAT_HEAD = (
    "base.{}.float().register_forward_pre_hook(lambda _, given: given[0].float())"
)
_FOLDS = """
The method also changed the base model. Apply these changes once, after the lines above:

```python
from safetensors.torch import load_file

delta = load_file(f"{{folder}}/base_delta.safetensors")
for name in {{key.rpartition(".")[0] for key in delta}}:
    change = delta.get(f"{{name}}.fold")
    if change is None:
        change = delta[f"{{name}}.fold_B"] @ delta[f"{{name}}.fold_A"]
    layer = base.get_submodule(name)
    layer = getattr(layer, "base_layer", layer)
    if type(layer).__name__ == "Conv1D":  # its weights are [inputs, outputs]
        change = change.T
    layer.weight.data {step}
```
"""
_STEPS = {"add": "+= change", "multiply": "*= 1 + change"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a model card says."""

    objective: Objective
    origin: Origin
    copied_from: Origin | None
    num_labels: int
    dtype: str
    pad_token_id: int | None
    float_heads: tuple[str, ...]  # modules in float32 on a base that is not
    has_folds: bool


def folds_text(rule: Literal["add", "multiply"]) -> str:
    """Return the section with the lines that apply a base delta of this rule."""
    return _FOLDS.format(step=_STEPS[rule])


def without_folds(text: str) -> str:
    """Return a card's text less its section on the base delta."""
    for rule in _STEPS:
        text = text.replace(_FOLDS.format(step=_STEPS[rule]), "")
    return text


def card_text(card: Card) -> str:
    """Return the model card, in Markdown with its YAML head."""
    named = card.copied_from or card.origin
    is_own = named.name.startswith("./")
    head = ["library_name: peft", "tags: [lora, federated-learning]"]
    head += [] if is_own else [f"base_model: {_quoted(named.name)}"]
    head += [f"license: {named.licence}"] if named.licence else []
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
            *([folds_text("add")] * card.has_folds),
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
    if named.licence is None:
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
        *(_FLOAT_HEAD.format(name) for name in card.float_heads),
        "model = PeftModel.from_pretrained(base, folder).eval()",
        *([tokenizer] * has_texts),
    ]


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"

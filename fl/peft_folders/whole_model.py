"""Base model, base delta and adapter as one model of transformers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fl.backbones.families import first_line, name_attention, quiet_transformers
from fl.model.checkpoint import BASE_FOLDER, LOCAL_BASE
from fl.model.model_card import CARD_FILE
from fl.model.writing import tensors_written
from fl.peft_folders.base_delta import apply_base_delta
from fl.peft_folders.companions import copy_tokenizer
from fl.peft_folders.folder import PREFIX, PeftFolder

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

MODEL_FOLDER = "model"
HEAD_FILE = "head.safetensors"
ModelPrecision: TypeAlias = Literal["float32", "bfloat16", "float16"]
_CLASSES = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "FEATURE_EXTRACTION": "AutoModel",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
}
_CARD = """---
library_name: transformers
---

# Base model and LoRA adapter in one

`{name}` and the adapter in the folder above, added up in float32 and saved as {dtype}.

```python
from transformers import {family}

model = {family}.from_pretrained(".").eval()
```
{head}"""
_HEAD = f"""
The classifier of the mean of a text's token vectors is in `{HEAD_FILE}`:
`classifier.weight` and `classifier.bias`.
"""


def write_whole_model(folder: Path, adapter: PeftFolder, dtype: ModelPrecision) -> None:
    """Write what an adapter folder makes of its base into ``model/``: weights of this
    precision, tokenizer and model card; a head that is no module of it as a file."""
    import torch
    from safetensors.torch import save_file

    name, where = _base_place(folder, adapter.config)
    out = folder / MODEL_FOLDER
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that only training reads
        base = _base(where, adapter)
        model = _with_adapter(base, folder)
        model.to(getattr(torch, dtype))
        with tensors_written(out):
            model.save_pretrained(out)
    head = _head(adapter.rest, model)
    if head:
        save_file(head, out / HEAD_FILE, metadata={"format": "pt"})
    copy_tokenizer(folder, out)
    family = _family(adapter.config, model.config.architectures)
    text = _CARD.format(name=name, dtype=dtype, family=family, head=_HEAD * bool(head))
    (out / CARD_FILE).write_text(text, encoding="utf-8")


def _with_adapter(base: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return the base with what it folds and the adapter added up."""
    from peft import PeftModel

    try:
        apply_base_delta(base, folder)
        model: PreTrainedModel
        model = PeftModel.from_pretrained(base, str(folder)).merge_and_unload()
        _name_pad_token(model, folder)
    except MemoryError:
        raise
    except Exception as error:  # whatever a stranger's files make the library do
        raise ValueError(f"the adapters do not load: {first_line(error)}") from error
    return model


def _base_place(folder: Path, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the base model's name, and from where it is loaded."""
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str):
        raise ValueError(
            "the adapters name no base model to add them to: write its folder or hub "
            "id as base_model_name_or_path into the first one's adapter_config.json"
        )
    if name == LOCAL_BASE:
        return name, {"name": str(folder / BASE_FOLDER), "revision": None}
    return name, {"name": name, "revision": config.get("revision")}


def _base(where: Mapping[str, Any], adapter: PeftFolder) -> PreTrainedModel:
    """Return the base model in float32, from safetensors, without code of its own."""
    import transformers

    shared = {"revision": where["revision"] or "main", "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(where["name"], **shared)
        name_attention(config, None)
        labels = _num_labels(adapter)
        if labels is not None:
            config.num_labels = labels
        family = getattr(
            transformers, _family(adapter.config, config.architectures), None
        )
        if family is None:
            raise ValueError("is of no class of transformers")
        model: PreTrainedModel = family.from_pretrained(
            where["name"],
            config=config,
            dtype="float32",
            use_safetensors=True,
            ignore_mismatched_sizes=labels is not None,
            **shared,
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever a stranger's files make the library do
        raise ValueError(f"base model {where['name']}: {first_line(error)}") from error
    return model


def _family(config: Mapping[str, Any], architectures: list[str] | None) -> str:
    """Return the class of transformers that loads an adapter's base."""
    task = config.get("task_type")
    return _CLASSES.get(str(task)) or (architectures or ["AutoModel"])[0]


def _num_labels(adapter: PeftFolder) -> int | None:
    """Return the labels of a classifier that was trained whole; None without one."""
    if adapter.config.get("task_type") not in ("SEQ_CLS", "TOKEN_CLS"):
        return None
    rows = [len(one) for name, one in adapter.rest.items() if name.endswith(".weight")]
    return min(rows, default=None)


def _head(rest: Mapping[str, Tensor], model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the tensors trained whole that are of no module of the model."""
    modules = dict(model.named_modules())
    plain = {name.removeprefix(PREFIX): tensor for name, tensor in rest.items()}
    return {n: one for n, one in plain.items() if n.rpartition(".")[0] not in modules}


def _name_pad_token(model: PreTrainedModel, folder: Path) -> None:
    """Give a model without a padding token its tokenizer's."""
    from transformers import AutoTokenizer

    if getattr(model.config, "pad_token_id", 0) is not None:
        return
    if (folder / "tokenizer_config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model.config.pad_token_id = tokenizer.pad_token_id

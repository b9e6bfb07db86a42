"""Measure training steps of seven models on this host; fit laws on half, judge on half.

python tests/benchmarks/steps.py --csv FILE [--judge]; with --judge the file is read.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
import transformers
from scipy.optimize import nnls

from fl.backbones.families import cast_model, name_attention
from fl.costs.movement import OperationCounter
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.settings.local_training import TrainingSettings
from fl.training.local_training import LocalJob, train

SMALL = {"num_hidden_layers": 6, "pad_token_id": 0, "bos_token_id": 0}
SMALL["eos_token_id"] = 0
VIT = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
MODELS = {  # class, configuration, adapted modules, head
    "vit": ("ViTForImageClassification", VIT | {"image_size": 64, "patch_size": 8}
            | {"num_hidden_layers": 6}, ("q_proj", "v_proj"), ("classifier",)),
    "vit-224": ("ViTForImageClassification", VIT | {"num_hidden_layers": 12},
                ("q_proj", "v_proj"), ("classifier",)),
    "minilm": ("BertForSequenceClassification", {"hidden_size": 384}
               | {"num_hidden_layers": 6, "intermediate_size": 1536},
               ("query", "value"), ("classifier",)),
    "gpt2": ("GPT2LMHeadModel", SMALL | {"n_embd": 256, "n_layer": 6, "n_head": 8}
             | {"vocab_size": 8000}, ("c_attn",), ()),
    "llama": ("LlamaForCausalLM", SMALL | {"hidden_size": 256, "vocab_size": 4000}
              | {"num_attention_heads": 8, "num_key_value_heads": 4}
              | {"intermediate_size": 704}, ("q_proj", "v_proj"), ()),
    "qwen2": ("Qwen2ForCausalLM", SMALL | {"hidden_size": 448, "vocab_size": 16000}
              | {"num_hidden_layers": 8, "num_attention_heads": 14}
              | {"num_key_value_heads": 2, "intermediate_size": 1216},
              ("q_proj", "v_proj"), ()),
    "distilbert": ("DistilBertForSequenceClassification", {"dim": 512, "n_layers": 4}
                   | {"n_heads": 8, "hidden_dim": 2048, "vocab_size": 20000},
                   ("q_lin", "v_lin"), ("pre_classifier", "classifier")),
}  # fmt: skip
UNSEEN = "distilbert"  # nothing is fitted on it
TEXTS = [(1, 16), (1, 64), (1, 256), (4, 32), (4, 128), (8, 64)]
TEXTS += [(16, 32), (32, 16), (16, 128)]
SIZES = {"vit": [(1, 0), (4, 0), (16, 0), (32, 0)], "vit-224": [(1, 0), (4, 0), (8, 0)]}
COUNTS = ("flop", "half_flop", "product_bytes", "other_bytes", "operations")
STEPS, TRIALS = 3, 4
LAWS = {
    "one rate": ("flop",),
    "fixed time, rate": ("one", "flop"),
    "operations, rate, all bytes": ("operations", "flop", "all_bytes"),
    "all five terms": ("one", "operations", "flop", "product_bytes", "other_bytes"),
}


def lora_model(name: str, precision: str, device: str = "cpu") -> LoraModel:
    """Return a model with random weights, on the meta device with eager attention."""
    class_name, values, targets, head = MODELS[name]
    made = getattr(transformers, class_name)
    config = made.config_class(**values)
    name_attention(config, "eager" if device == "meta" else None)
    torch.manual_seed(0)
    with torch.device(device):
        base = made(config)
    base.eval()
    if not head:
        base.loss_type = "ForCausalLM"
    cast_model(base, precision)
    lora = LoraSettings(r=8, target_modules=targets, modules_to_save=head)
    return LoraModel(base, lora, seed=0, device=device)


def batch(name: str, size: int, length: int, device: str = "cpu") -> dict:
    """Return a mini-batch of constant content."""
    _, values, _, head = MODELS[name]
    zeros = torch.zeros(size, dtype=torch.long, device=device)
    if not length:
        side = values.get("image_size", 224)
        pixels = torch.zeros(size, 3, side, side, device=device)
        return {"pixel_values": pixels, "labels": zeros}
    tokens = torch.ones((size, length), dtype=torch.long, device=device)
    found = {"input_ids": tokens, "labels": zeros if head else tokens}
    if not (head and device == "meta"):  # an encoder looks into a mask
        found["attention_mask"] = torch.ones_like(tokens)
    return found


def counted(name: str, precision: str, size: int, length: int) -> list[int]:
    """Return what ``COUNTS`` names, of one step on the meta device."""
    model = lora_model(name, precision, "meta")
    with OperationCounter() as counter:
        model.forward(batch(name, size, length, "meta"))[0].backward()
    return [counter.flop, *counter.moved]


def measured_s(name: str, precision: str, size: int, length: int) -> float:
    """Return the median CPU seconds of a step of netsim's own training."""
    model, content = lora_model(name, precision), batch(name, size, length)
    task = SimpleNamespace(batch=lambda split, indices: content)
    settings = TrainingSettings(local_steps=STEPS, per_device_train_batch_size=size)
    job = LocalJob(
        client_id=0, start_index=0, steps=STEPS, start=model.read(),
        samples=np.arange(size),
    )  # fmt: skip
    trials_s = []
    for _ in range(TRIALS + 1):
        start_s = time.thread_time()
        train(model, task, [job], settings=settings, seed=0)
        trials_s.append((time.thread_time() - start_s) / STEPS)
    return median(trials_s[1:])


def judged(rows: pd.DataFrame, terms: tuple[str, ...], seed: int = 0) -> np.ndarray:
    """Return the factors of error on the half that nothing was fitted to."""
    order = np.random.default_rng(seed).permutation(len(rows))
    is_fitted = (order < len(rows) // 2) & (rows.model != UNSEEN).to_numpy()
    columns = rows.assign(one=1.0, all_bytes=rows.product_bytes + rows.other_bytes)
    relative = columns[list(terms)].to_numpy(float) / rows.step_s.to_numpy()[:, None]
    scale = relative.max(0)
    if len(terms) == 1:  # the geometric mean, as of a catalogue's device
        found = np.exp(-np.log(relative[is_fitted] / scale).mean(keepdims=True)[0])
    else:
        found, _ = nnls(relative[is_fitted] / scale, np.ones(is_fitted.sum()))
    ratio = (relative / scale @ found)[~is_fitted]
    return np.maximum(ratio, 1 / ratio)


def main() -> None:
    """Measure or read the table, and print the error of each law."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--judge", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.judge:
        settings = [
            (name, precision, *size)
            for name in MODELS
            for size in SIZES.get(name, TEXTS)
            for precision in ("float32", "bfloat16")
        ]
        rows = [[*one, measured_s(*one), *counted(*one)] for one in settings]
        names = ("model", "precision", "batch_size", "length", "step_s", *COUNTS)
        pd.DataFrame(rows, columns=names).to_csv(given.csv, index=False)
    rows = pd.read_csv(given.csv)
    for precision, part in rows.groupby("precision"):
        for law, terms in LAWS.items():
            errors = judged(part.reset_index(drop=True), terms)
            print(
                f"{precision:9} {law:28} {len(errors)} settings not fitted: "
                f"median {np.median(errors):.3f}, worst {errors.max():.3f}"
            )


if __name__ == "__main__":
    main()

"""A split is judged in parts that suit the processor, with the same numbers."""

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from fl.model import evaluation
from fl.model.adapters import LoraSettings
from fl.model.evaluation_settings import EvaluationSettings
from fl.model.lora_model import LoraModel

SIZES = {
    "vocab_size": 30,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
BASES = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)).eval(),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)).eval(),
}


class Texts:
    """Texts of 3 to 40 words, labelled, or to be continued."""

    def __init__(self, objective):
        rng = np.random.default_rng(0)
        self.objective = objective
        self.sizes = rng.integers(3, 41, size=60)
        self.words = torch.from_numpy(rng.integers(1, 30, size=(60, 40)))

    def lengths(self, split, indices):
        return self.sizes[indices]

    def batch(self, split, indices):
        sizes = torch.from_numpy(self.sizes[indices])
        words = self.words[torch.from_numpy(indices), : int(sizes.max())].clone()
        mask = torch.arange(words.shape[1])[None] < sizes[:, None]
        labels = torch.from_numpy(indices % 2)
        if self.objective == "causal":
            labels = words.masked_fill(~mask, -100)
        words[~mask] = 0
        return {"input_ids": words, "attention_mask": mask.long(), "labels": labels}


@pytest.mark.parametrize(
    ("kind", "head", "objective"),
    [
        ("bert", "classifier", "text-classification"),
        ("llama", "lm_head", "causal"),
    ],
)
def test_parts_give_the_loss_of_the_model_on_whole_batches(
    kind, head, objective, monkeypatch
):
    torch.manual_seed(0)
    base = BASES[kind]()
    lora = LoraSettings(target_modules=("all-linear",), modules_to_save=(head,))
    lora_model = LoraModel(base, lora, seed=0)
    task, samples = Texts(objective), np.arange(60)
    wanted, passes = [], []
    with torch.inference_mode():
        for chosen in evaluation.even_batches(task, "test", samples):
            batch = task.batch("test", chosen)
            counted = batch["labels"] if kind == "bert" else batch["labels"][:, 1:]
            count = int((counted != -100).sum())
            loss = lora_model.forward(batch)[0].item()
            wanted.append((loss * count, count))
    logits = LoraModel.logits

    def noted(self, batch, **more):
        passes.append(tuple(batch["input_ids"].shape))
        return logits(self, batch, **more)

    monkeypatch.setattr(LoraModel, "logits", noted)
    monkeypatch.setattr(evaluation, "numbers_at_once", lambda device: 32 * 40 * 8)
    found = evaluation.measured(
        *(lora_model, task, "test", samples),
        settings=EvaluationSettings(),
        shown="test",
    )
    total, count = np.sum(wanted, axis=0)
    assert found.loss == pytest.approx(total / count, abs=1e-6)
    assert passes[0] == (8, 40)
    assert passes[-1][0] <= 8
    assert passes[-1][1] == 16

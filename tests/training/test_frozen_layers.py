"""Frozen layers below the first trained one, computed once for each sample."""

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from fl.backbones import FromConfig
from fl.contract import Arrival
from fl.memory.store import Store
from fl.model import frozen_layers
from fl.model.adapters import LoraSettings
from fl.model.frozen_layers import FrozenLayers, NothingFrozen
from fl.settings.local_training import TrainingSettings
from fl.tasks import Synthetic
from tests.support.federations import TINY, federation, submit

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
WORDS = {"task": Synthetic(num_samples=40, num_test=10)}
CASES = {  # of each the last layer's matrices, and the number of frozen layers
    "images": ({"backbone": TINY}, ("layers.1.attention.q_proj",), 1),
    "bert": (
        {"backbone": FromConfig(model_type="bert", config=SIZES, vocab_size=300)}
        | WORDS,
        ("layer.2.attention.self.query",),
        2,
    ),
    "llama": (
        {"backbone": FromConfig(model_type="llama", config=SIZES, vocab_size=300)}
        | WORDS,
        ("layers.2.self_attn.q_proj",),
        2,
    ),
}


def federation_of(case, *, is_cached=True, **more):
    settings, targets, _ = CASES[case]
    heads = ("score",) if case == "llama" else ("classifier",)
    training = TrainingSettings(
        learning_rate=0.05,
        optim="sgd",
        per_device_train_batch_size=4,
        cache_frozen_layers=is_cached,
    )
    lora = LoraSettings(r=2, target_modules=targets, modules_to_save=heads)
    return federation(**{**settings, "training": training, "lora": lora, **more})


def learned(fed):
    """Return the numbers and the loss after a round, the version being evaluated before
    and after it."""
    fed.evaluate(fed.initial_version)
    jobs = [submit(fed, client, fed.initial_version) for client in range(3)]
    merged = fed.merge(fed.initial_version, [Arrival(job, 1 / 3) for job in jobs])
    loss = fed.evaluate(merged.version).loss
    return fed._versions.model(merged.version).adapter.flat, loss


@pytest.mark.parametrize("case", CASES)
def test_the_result_is_that_of_all_layers_whatever_is_kept(case, monkeypatch):
    plain, plain_loss = learned(federation_of(case, is_cached=False))
    fed = federation_of(case)
    cached, loss = learned(fed)
    torch.testing.assert_close(cached, plain, rtol=0, atol=1e-12)
    assert loss == pytest.approx(plain_loss, abs=1e-12)
    frozen = fed._model.lora_model._frozen
    assert len(frozen._layers) == CASES[case][2]
    monkeypatch.setattr(frozen_layers, "LIMIT_BYTES", frozen._num_bytes // 3)
    again, same_loss = learned(federation_of(case))
    assert torch.equal(again, cached)
    assert same_loss == loss


def test_each_sample_passes_the_frozen_layers_once(monkeypatch):
    fed = federation_of("bert")
    assert fed._model.lora_model
    passed, computed = [], FrozenLayers._computed

    def counted(frozen, sample):
        passed.append(sample)
        return computed(frozen, sample)

    monkeypatch.setattr(FrozenLayers, "_computed", counted)
    learned(fed)
    num_samples = len(passed)
    assert 10 < num_samples < 50
    learned(fed)
    assert len(passed) == num_samples


def test_a_stored_score_of_all_layers_is_none_of_kept_ones(tmp_path):
    store = Store(tmp_path)
    for is_cached in (False, True):
        fed = federation_of("bert", is_cached=is_cached, store=store)
        fed.evaluate(fed.initial_version)
        assert "_loaded" in vars(fed._model)  # computed, not recalled


def test_where_nothing_is_frozen_below_it_is_refused():
    lora = LoraSettings(r=2, modules_to_save=("classifier",))
    with pytest.raises(NothingFrozen, match="no layer comes before"):
        _ = federation_of("images", lora=lora)._model.lora_model


class Skips(nn.Module):
    """What comes last reads a part of the first layer's output as well."""

    def __init__(self, share):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.last, self.share = nn.Linear(4, 3), share

    def forward(self, x):
        first = self.layers[0](x)
        second = self.layers[1](first)
        return SimpleNamespace(logits=self.last(second + self.share * first))


def test_even_a_small_part_that_skips_a_frozen_layer_is_refused():
    batch = {"x": torch.ones(1, 4), "labels": torch.zeros(1, dtype=torch.long)}

    def frozen_of(share):
        config = LoraConfig(target_modules=["last"])
        model = inject_adapter_in_model(config, Skips(share)).eval()
        return FrozenLayers(model, batch)

    assert len(frozen_of(0.0)._layers) == 2
    with pytest.raises(NothingFrozen, match="do not simply follow each other"):
        frozen_of(1e-3)

"""The frozen base is loaded once per process, and no run leaves a trace in it."""

import torch

from fl.backbones import SmallViT
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.model.shared_base import shared_base
from fl.tasks import Digits

LORA = LoraSettings()


def model_of(seed, precision="float32"):
    base = shared_base(SmallViT(), Digits(), device="cpu", precision=precision)
    return LoraModel(base, LORA, seed=seed, precision=precision)


def weight(model):
    return model.linears[0].base.weight


def logits(model):
    batch = {"pixel_values": torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)}
    with torch.no_grad():
        return model.logits(model.placed(batch))


def test_runs_share_weights_but_neither_layers_nor_adapters():
    first, second = model_of(1), model_of(2)
    assert weight(first).data_ptr() == weight(second).data_ptr()
    assert not torch.equal(first.read().flat, second.read().flat)
    first.write_flat(first.read().flat + 1)
    assert torch.equal(second.read().flat, model_of(2).read().flat)


def test_a_fresh_load_gives_the_same_model():
    alone = LoraModel(SmallViT().load(Digits()), LORA, seed=3)
    assert torch.equal(logits(model_of(3)), logits(alone))


def test_what_one_run_folds_into_its_base_no_other_sees():
    other = model_of(1)
    before = logits(other)
    folding = model_of(1)
    name = folding.layout.parts[folding.linears[0].part_a].module
    folding.fold({name: torch.ones_like(weight(folding))})
    assert not torch.equal(logits(folding), before)
    assert torch.equal(logits(other), before)
    assert torch.equal(logits(model_of(1)), before)
    folding.fold({})
    assert torch.equal(logits(folding), before)


def test_another_precision_is_another_base():
    single, double = model_of(1), model_of(1, precision="float64")
    assert weight(single).dtype is torch.float32
    assert weight(double).dtype is torch.float64
    assert weight(model_of(1)).dtype is torch.float32

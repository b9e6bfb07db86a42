import json

import numpy as np
import pytest
import torch

from fl.backbones import SmallViT
from fl.model.adapters import LoraSettings
from fl.model.checkpoint import read_checkpoint, write_checkpoint
from fl.model.export import write_base
from fl.model.lora_model import LoraModel
from fl.model.writing import tensors_written
from fl.streams import torch_stream
from fl.tasks import Digits

TINY = SmallViT(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=24,
    pretrain_steps=3,
)
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2")


def saved(folder, lora):
    """Return a model with a random adapter, after saving that and the base."""
    lora_model = LoraModel(TINY.load(Digits()), lora, seed=0)
    flat = torch.randn(lora_model.layout.num_numbers, generator=torch_stream(0, "test"))
    tensors = lora_model.layout.views(flat)
    lora_model.write(lora_model.layout.pack(tensors))
    write_checkpoint(folder, lora_model.read(), lora)
    write_base(folder, TINY.load(Digits()))
    return lora_model


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize(
    "lora",
    [
        LoraSettings(),
        LoraSettings(r=3, lora_alpha=5.5, lora_dropout=0.1, target_modules=ALL),
        LoraSettings(modules_to_save=()),
    ],
)
def test_peft_loads_the_folder_without_any_difference(lora, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForImageClassification

    lora_model = saved(tmp_path / "adapter", lora)
    base = AutoModelForImageClassification.from_pretrained(tmp_path / "adapter/base")
    model = PeftModel.from_pretrained(base, tmp_path / "adapter")
    batch = Digits().batch("test", np.arange(32))
    with torch.no_grad():
        loss, logits = lora_model.forward(batch)
        output = model(**batch)
    assert torch.equal(output.logits, logits)
    assert torch.equal(output.loss, loss)


def test_a_checkpoint_comes_back_equal_and_is_written_the_same(tmp_path):
    lora = LoraSettings()
    lora_model = saved(tmp_path / "one", lora)
    adapter = read_checkpoint(tmp_path / "one", lora_model.layout)
    assert adapter == lora_model.read()
    write_checkpoint(tmp_path / "two", adapter, lora)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    config = json.loads((tmp_path / "one/adapter_config.json").read_text())
    assert config["target_modules"] == ["q_proj", "v_proj"]
    assert config["inference_mode"] is True


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    lora_model = saved(tmp_path, LoraSettings(r=4))
    other = LoraModel(TINY.load(Digits()), LoraSettings(r=2), seed=0)
    assert read_checkpoint(tmp_path, lora_model.layout)
    with pytest.raises(ValueError, match="does not fit the model"):
        read_checkpoint(tmp_path, other.layout)


def test_the_drafts_of_killed_writers_go(tmp_path):
    (tmp_path / ".tmpSxgY95").touch()
    with tensors_written(tmp_path / "adapter_model.safetensors"):
        pass
    assert list(tmp_path.iterdir()) == []

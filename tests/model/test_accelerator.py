"""Where clients train and in which precision: one setting each, nothing silent."""

import pytest
import torch

from fl.backbones import SmallViT
from fl.model import device
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.partition import IID, divide
from fl.settings.local_training import TrainingSettings
from fl.streams import stream
from fl.tasks import Digits
from fl.training.local_training import LocalJob, train
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError

TINY = SmallViT(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    pretrain_steps=3,
)
HAS_ACCELERATOR = torch.accelerator.is_available()


def trained(where="cpu", *, bf16=False, **lora):
    """Return what two clients come to in three steps, and their losses."""
    settings = LoraSettings(r=2, lora_alpha=6.0 if not lora else 16.0, **lora)
    lora_model = LoraModel(TINY.load(Digits()), settings, seed=1, device=where)
    shares = divide(IID(), Digits(), 2, stream(1, "partition"))
    jobs = [
        LocalJob(
            client_id=client,
            start_index=0,
            steps=3,
            start=lora_model.read(),
            samples=samples,
        )
        for client, samples in enumerate(shares)
    ]
    how = TrainingSettings(learning_rate=0.05, optim="sgd", bf16=bf16)
    return train(lora_model, Digits(), jobs, settings=how, seed=1)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that gives this machine that many NVIDIA cards."""

    def make(build, num_cards):
        for card in range(num_cards):
            (tmp_path / f"0000:0{card}:00.0").mkdir()
        monkeypatch.setattr(device, "NVIDIA", tmp_path)
        monkeypatch.setattr(device.platform, "system", lambda: "Linux")
        monkeypatch.setattr(device, "_torch_build", lambda: build)

    return make


@pytest.mark.parametrize(("build", "cards"), [("cpu", 2), ("", 0), ("cu130", 0)])
def test_without_a_card_or_a_build_for_it_auto_is_the_cpu(build, cards, machine):
    machine(build, cards)
    assert device.resolved("auto") == device.resolved("cpu") == "cpu"
    with pytest.raises(ValueError, match=r"no device 'cuda' \(it has auto, cpu\)"):
        device.resolved("cuda")


@pytest.mark.parametrize("build", ["", "cu130"])
def test_auto_is_the_first_card_and_names_are_checked(build, machine):
    machine(build, 2)
    assert device.resolved("auto") == device.resolved("cuda") == "cuda:0"
    assert device.resolved("cuda:1") == "cuda:1"
    assert device.resolved("cpu") == "cpu"
    with pytest.raises(ValueError, match=r"no device 'cuda:2' .*cpu, cuda:0, cuda:1"):
        device.resolved("cuda:2")


@pytest.mark.slow
@pytest.mark.skipif(HAS_ACCELERATOR, reason="there is one")
def test_a_card_that_torch_cannot_use_ends_the_run_and_nothing_falls_back(machine):
    machine("", 1)
    config = read_scenario(find_scenario("quickstart"), ("learning.device=auto",))
    learner = config.learning.learner(20, 1, reuse=False)
    with pytest.raises(InputError, match=r"learning\.device: torch cannot compute on"):
        learner.evaluate(learner.initial_version)


@pytest.mark.skipif(HAS_ACCELERATOR, reason="there is one")
def test_a_device_that_is_not_there_is_refused_and_nothing_falls_back():
    config = read_scenario(find_scenario("quickstart"), ("learning.device=cuda",))
    with pytest.raises(InputError, match=r"learning\.device: .*no device 'cuda'"):
        config.learning.learner(20, 1, reuse=False)


@pytest.mark.parametrize("word", ["gpu 0", "", "cuda:x", "cuda:"])
def test_words_that_name_no_device_are_refused(word):
    with pytest.raises(InputError, match=r"learning\.device"):
        read_scenario(find_scenario("quickstart"), (f"learning.device='{word}'",))


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}], ids=["stacked", "alone"])
def test_bf16_rounds_products_and_keeps_float32_numbers(lora):
    exact, rounded = trained(**lora), trained(bf16=True, **lora)
    for one, other in zip(exact, rounded, strict=True):
        assert other.adapter.flat.dtype == torch.float32
        assert not torch.equal(one.adapter.flat, other.adapter.flat)
        assert other.loss == pytest.approx(one.loss, rel=0.02)
        error = (other.adapter.flat - one.adapter.flat).norm()
        assert error < 0.02 * one.adapter.flat.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_ACCELERATOR, reason="needs an accelerator")
def test_an_accelerator_gives_the_numbers_of_the_cpu_up_to_rounding():
    for one, other in zip(trained(), trained(device.resolved("auto")), strict=True):
        torch.testing.assert_close(
            other.adapter.flat, one.adapter.flat, rtol=1e-3, atol=1e-4
        )

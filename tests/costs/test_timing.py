import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from fl.backbones import FromConfig
from fl.contract import Job
from fl.costs import SHAPES, TimingAs, count_costs, count_timing, known_timing
from fl.costs.meta import meta_model
from fl.costs.timing import model_values
from fl.model.adapters import LoraSettings
from fl.settings.local_training import TrainingSettings
from fl.tasks import Arithmetic
from netsim.cosim.learning_kinds import LoraLearning
from tests.support.tiny_config import TINY_LLAMA, write_config

ONE = TrainingSettings(per_device_train_batch_size=1, gradient_accumulation_steps=2)
PUBLISHED = {  # the models' cards, and RoBERTa's paper
    "roberta-large": 355e6,
    "gemma-3-270m": 268e6,
    "llama-3.2-1b": 1.24e9,
    "llama-3.2-3b": 3.21e9,
    "llama-3.1-8b": 8.03e9,
    "qwen2.5-0.5b": 0.49e9,
    "qwen2.5-7b": 7.62e9,
}


@pytest.fixture
def folder(tmp_path):
    """A folder with a tiny Llama's configuration and no weights."""
    return write_config(tmp_path)


def learner(timing, **lora):
    config = LoraLearning(lora=LoraSettings(**lora), training=ONE, timing_as=timing)
    return config.learner(4, 0, reuse=False)


def job(rank, version=""):
    return Job(0, 0, 1, version, rank)


@pytest.mark.parametrize("name", SHAPES)
def test_built_in_shapes_have_the_published_number_of_parameters(name):
    model = meta_model(model_values(name), TimingAs(model=name))
    found = sum(parameter.numel() for parameter in model.parameters())
    assert found == pytest.approx(PUBLISHED[name], rel=0.01)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_counts_on_meta_are_those_of_the_loaded_model(folder):
    backbone = FromConfig(model_type="llama", config=TINY_LLAMA, vocab_size=300)
    lora = LoraSettings(modules_to_save=())
    loaded = count_costs(Arithmetic(num_samples=300), backbone, lora=lora, training=ONE)
    vocabulary = len(backbone.tokenizer(Arithmetic(num_samples=300)).loaded)
    values = {**model_values(folder), "vocab_size": vocabulary}
    Path(folder, "config.json").write_text(json.dumps(values))
    timing = TimingAs(model=folder, sequence_length=12, dtype="float32")
    timed = count_timing(timing, lora, ONE)
    assert timed.base_flop_curve == loaded.base_flop_curve
    assert timed.base_flop == loaded.base_flop_curve.at(12)
    assert timed.flop_per_rank_curve == loaded.flop_per_rank_curve
    assert timed.base_parameters == loaded.base_parameters
    assert timed.extent(8) == loaded.extent(8)
    assert timed.samples_per_step == 2


@pytest.mark.slow
def test_a_big_model_is_counted_as_by_hand():
    timing = TimingAs(model="qwen2.5-0.5b", sequence_length=64)
    facts = count_timing(timing, LoraSettings(), ONE)
    assert timing.target_modules == ("q_proj", "v_proj")
    assert facts.num_trainable(1) - facts.num_trainable(0) == 24 * (
        (896 + 896) + (896 + 128)
    )
    assert facts.base_bytes == 2 * facts.base_parameters
    # forward and input gradients: about 4 FLOP per parameter and token
    tokens_flop = 4 * facts.base_parameters * 64
    assert facts.base_flop == pytest.approx(tokens_flop, rel=0.03)
    assert known_timing(timing, LoraSettings(r=4), ONE) == facts


def test_time_is_that_of_the_big_model_at_every_rank(folder):
    timing = TimingAs(model=folder, sequence_length=12, r=16)
    found = learner(timing, r=8)
    facts = known_timing(timing, LoraSettings(r=8), ONE)
    assert found.rank == 8
    assert found.bits_up(job(8)) == 32 * facts.num_trainable(16)
    assert found.bits_up(job(3)) == 32 * facts.num_trainable(6)
    first = found.initial_version
    whole = 32 * facts.num_trainable(16)
    assert found.bits_down(job(3, first), None) == (whole, 16)
    assert found.bits_down(job(8, first), None) == (whole, 0)
    assert found.work(job(4)).flop == facts.training_flop(rank=8, steps=10)
    memory_bytes = facts.training_memory_bytes(rank=16, training=ONE)
    assert found.memory_at(found.rank) == memory_bytes


def test_bf16_is_counted_on_meta_as_autocast_counts_it(folder):
    half = ONE.model_copy(update={"bf16": True})
    timing = TimingAs(model=folder, sequence_length=12, dtype="float32")
    lora = LoraSettings(target_modules=timing.target_modules, modules_to_save=())
    full, found = (count_timing(timing, lora, training) for training in (ONE, half))
    backbone = FromConfig(model_type="llama", config=TINY_LLAMA, vocab_size=300)
    loaded = count_costs(
        Arithmetic(num_samples=300), backbone, lora=lora, training=half
    )
    assert full.moved.half_flop == 0 < found.moved.half_flop
    assert found.moved.product_bytes < full.moved.product_bytes
    assert found.moved.operations == loaded.moved.operations > full.moved.operations
    assert (found.base_flop, found.base_bytes) == (full.base_flop, full.base_bytes)


def test_a_fraction_of_a_rank_is_rounded_up():
    timing = TimingAs(model="llama-3.1-8b", r=4)
    ranks = [timing.rank_of(k, LoraSettings(r=8)) for k in (1, 2, 3, 8)]
    assert ranks == [1, 1, 2, 4]
    same = TimingAs(model="llama-3.1-8b")
    assert [same.rank_of(k, LoraSettings(r=8)) for k in (1, 8)] == [1, 8]


def test_both_models_are_named(folder):
    models = LoraLearning(timing_as=TimingAs(model="llama-3.1-8b")).timing_model()
    assert models["time"].startswith("llama-3.1-8b (bfloat16, 512 tokens, LoRA rank 8")
    assert models["accuracy"] == "small-vit"
    assert set(LoraLearning().timing_model().values()) == {"small-vit"}


def test_a_classifier_has_its_family_s_modules():
    timing = TimingAs(model="roberta-large")
    assert timing.target_modules == ("query", "value")
    assert timing.modules_to_save == ("classifier",)


def test_an_encoder_and_its_head_of_two_layers_are_counted(tmp_path):
    sizes = {
        name: TINY_LLAMA[name] for name in TINY_LLAMA if name != "num_key_value_heads"
    }
    values = {**model_values("roberta-large"), **sizes, "vocab_size": 300}
    (tmp_path / "config.json").write_text(json.dumps(values))
    facts = count_timing(TimingAs(model=str(tmp_path)), LoraSettings(), ONE)
    assert facts.rest.num_numbers == (16 * 16 + 16) + (2 * 16 + 2)
    assert facts.num_trainable(1) - facts.num_trainable(0) == 2 * 2 * (16 + 16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "llama-3.1-8"}, "did you mean 'llama-3.1-8b'"),
        ({"model": "llama-3.1-8b", "sequence_length": 0}, "greater than or equal"),
    ],
)
def test_what_cannot_be_timed_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        TimingAs(**fields)


def test_more_tokens_than_positions_are_refused():
    timing = TimingAs(model="roberta-large", sequence_length=600)
    with pytest.raises(ValueError, match="at most the model's 512 positions, got 600"):
        count_timing(timing, LoraSettings(), ONE)


def test_modules_that_the_big_model_lacks_are_refused(folder):
    timing = TimingAs(model=folder, sequence_length=12, target_modules=("query",))
    with pytest.raises(ValueError, match=r"timing_as: .*query"):
        count_timing(timing, LoraSettings(), ONE)


def test_known_counts_need_no_torch(folder):
    timing = TimingAs(model=folder, sequence_length=12)
    count_timing(timing, LoraSettings(), ONE)
    code = (
        "import sys; from fl.model.adapters import LoraSettings as L;"
        "from fl.costs import TimingAs, known_timing;"
        "from fl.training.local_training import TrainingSettings as T;"
        f"t = T.model_validate({ONE.model_dump()!r});"
        f"f = known_timing(TimingAs(model={folder!r}, sequence_length=12), L(), t);"
        "assert f and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

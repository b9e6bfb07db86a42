import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fl.backbones import FromConfig
from fl.costs import Curve, count_costs, known_costs
from fl.costs.curves import expected_lengths, fitted
from fl.costs.movement import OperationCounter
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.model.payload import Extent, Payload
from fl.settings.local_training import TrainingSettings
from fl.tasks import Arithmetic, Synthetic
from fl.training.local_training import LocalJob, train

D, HIDDEN, LAYERS, LABELS = 16, 24, 2, 3
SENTENCES = Synthetic(num_samples=300, num_labels=LABELS)
SUMS = Arithmetic(num_samples=300)
SIZES = {
    "bert": {
        "hidden_size": D,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": HIDDEN,
    },
    "gpt2": {"n_embd": D, "n_layer": LAYERS, "n_head": 2, "n_inner": HIDDEN},
    "llama": {
        "hidden_size": D,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": HIDDEN,
    },
}


def backbone(family, **settings):
    return FromConfig(
        model_type=family, config=SIZES[family], vocab_size=300, **settings
    )


def lora(*targets, head=()):
    return LoraSettings(target_modules=targets, modules_to_save=head)


def facts_of(task, base, adapters, **training):
    training = TrainingSettings(**training)
    return count_costs(task, base, lora=adapters, training=training)


def attention_flop(length, rank):
    """FLOP of all layers' attention with LoRA on q and v, forward and backward."""
    projection = 2 * length * D * D
    product = 2 * length * length * D  # scores, and again the weighted values
    factor = 2 * length * rank * D  # one of A, B of one matrix
    forward = 4 * projection + 2 * product + 4 * factor
    backward = 4 * projection + 4 * product + 8 * factor
    # below the first layer nothing asks for a gradient: not the inputs of q, k, v and
    # of the two A, and the first layer's keys need none themselves
    return LAYERS * (forward + backward) - 3 * projection - product - 2 * factor


@pytest.mark.parametrize("length", [1, 7, 64])
@pytest.mark.parametrize("rank", [1, 8])
def test_bert_flop_equal_the_hand_formula(length, rank):
    adapters = lora("query", "value", head=("classifier",))
    facts = facts_of(SENTENCES, backbone("bert"), adapters)
    mlp = 2 * LAYERS * 2 * (2 * length * D * HIDDEN)
    pooler, head = 2 * D * D, 2 * D * LABELS
    by_hand = attention_flop(length, rank) + mlp + 2 * pooler + 3 * head
    counted = facts.base_flop_curve.at(length) + rank * facts.flop_per_rank_curve.at(
        length
    )
    assert counted == by_hand


@pytest.mark.parametrize("length", [1, 7, 64])
@pytest.mark.parametrize("rank", [1, 8])
def test_llama_flop_equal_the_hand_formula(length, rank):
    facts = facts_of(SUMS, backbone("llama"), lora("q_proj", "v_proj"))
    vocabulary = backbone("llama").tokenizer(SUMS).loaded
    mlp = 2 * LAYERS * 3 * (2 * length * D * HIDDEN)
    head = 2 * (2 * length * D * len(vocabulary))
    by_hand = attention_flop(length, rank) + mlp + head
    counted = facts.base_flop_curve.at(length) + rank * facts.flop_per_rank_curve.at(
        length
    )
    assert counted == by_hand


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
@pytest.mark.parametrize("length", [1, 7, 64])
@pytest.mark.parametrize("rank", [1, 8])
def test_gpt2_flop_equal_the_hand_formula(length, rank):
    facts = facts_of(SUMS, backbone("gpt2"), lora("c_attn"))
    vocabulary = backbone("gpt2").tokenizer(SUMS).loaded
    projection, product = 2 * length * D * D, 2 * length * length * D
    low, high = 2 * length * rank * D, 2 * length * rank * 3 * D  # A, B of q, k and v
    mlp = 2 * (2 * length * D * HIDDEN)
    forward = 4 * projection + 2 * product + mlp + low + high
    backward = 4 * projection + 4 * product + mlp + 2 * low + 2 * high
    head = 2 * (2 * length * D * len(vocabulary))
    # below the first layer nothing asks for a gradient; its keys do, being adapted
    by_hand = LAYERS * (forward + backward) + head - 3 * projection - low
    counted = facts.base_flop_curve.at(length) + rank * facts.flop_per_rank_curve.at(
        length
    )
    assert counted == by_hand


def test_a_curve_goes_through_three_points():
    curve = Curve(5, -3, 2)
    assert fitted((8, 16, 24), [curve.at(n) for n in (8, 16, 24)]) == curve
    assert curve.at(2, 7) == 5 - 6 + 14


def test_the_expected_length_is_that_of_padded_batches():
    found = expected_lengths([3, 1, 2], 2)
    # of nine draws of two, one is (1, 1), three more stay below 3, five hold a 3
    assert found.mean == pytest.approx((1 * 1 + 3 * 2 + 5 * 3) / 9)
    assert found.mean_square == pytest.approx((1 * 1 + 3 * 4 + 5 * 9) / 9)
    assert found.longest == 3
    lengths = np.arange(1, 41)
    drawn = np.random.default_rng(0).choice(lengths, size=(20_000, 8)).max(1)
    assert expected_lengths(lengths.tolist(), 8).mean == pytest.approx(
        drawn.mean(), rel=0.01
    )


def test_flop_of_a_participation_are_those_expected():
    adapters = lora("q_proj", "v_proj")
    facts = facts_of(
        SUMS,
        backbone("llama"),
        adapters,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=3,
    )
    mean, square = facts.lengths.mean, facts.lengths.mean_square
    per_sample = facts.base_flop_curve.at(mean, square) + 8 * (
        facts.flop_per_rank_curve.at(mean, square)
    )
    assert facts.training_flop(rank=8, steps=5) == 5 * 4 * 3 * per_sample
    assert facts.base_flop_curve.quadratic > 0


def test_payload_bits_are_those_of_the_tensors():
    from fl.model.lora_model import LoraModel

    base, adapters = backbone("bert"), lora("query", "value", head=("classifier",))
    facts = facts_of(SENTENCES, base, adapters)
    for rank in (1, 5):
        ranked = adapters.model_copy(update={"r": rank})
        layout = LoraModel(base.load(SENTENCES), ranked, seed=0).layout
        assert facts.num_trainable(rank) == layout.num_numbers
        for precision in ("float32", "int8", "int4"):
            for per in ("row", "tensor"):
                payload = Payload(precision=precision, scale_per=per)
                bits = payload.bits(facts.extent(rank))
                assert bits == payload.bits(Extent.of(layout.parts))


def test_saved_activations_are_those_of_the_longest_batch():
    from fl.costs.counting import _passed, _probe

    base, adapters = backbone("bert"), lora("query", head=())
    facts = facts_of(SENTENCES, base, adapters)
    ready = SENTENCES.read_by(base.tokenizer(SENTENCES))
    batch = _probe(ready, facts.lengths.longest, 16)
    saved = _passed(loaded(SENTENCES, base, adapters), batch, bf16=False).saved
    assert facts.saved_bytes + 8 * facts.saved_bytes_per_rank == pytest.approx(
        saved, rel=0.01
    )


def loaded(task, base, adapters):
    """Return a model in memory, with eager attention."""
    model = base.load(task)
    model.set_attn_implementation("eager")
    return LoraModel(model, adapters, seed=0)


@pytest.mark.parametrize("trains", [("B", "A"), ("B",), ("A",), ("core",)])
def test_what_is_charged_is_what_training_multiplies(trains):
    base, adapters = backbone("bert"), lora("query", "value", head=("classifier",))
    training = TrainingSettings(per_device_train_batch_size=4, local_steps=2)
    costs = count_costs(
        SENTENCES, base, lora=adapters, training=training, trains=trains
    )
    lora_model = loaded(SENTENCES, base, adapters)
    ready = SENTENCES.read_by(base.tokenizer(SENTENCES))
    job = LocalJob(
        client_id=0,
        start_index=0,
        steps=2,
        start=lora_model.read(),
        samples=np.arange(4),  # every mini-batch has all four
        trains=trains,
    )
    with OperationCounter() as counter:
        train(lora_model, ready, [job], settings=training, seed=0)
    longest = int(max(ready.lengths("train", job.samples)))
    curves = costs.base_flop_curve, costs.flop_per_rank_curve
    base_flop, flop_per_rank = (curve.at(longest) for curve in curves)
    padded = replace(costs, base_flop=base_flop, flop_per_rank=flop_per_rank)
    # the start is taken apart into cores, and the result is put together again
    apart = 2 * 2 * LAYERS * (2 * D * 8 * 8) if trains == ("core",) else 0
    assert counter.flop == padded.training_flop(rank=8, steps=2) + apart


def test_a_bfloat16_base_takes_half_the_bytes():
    adapters = lora("query", head=())
    full, half = (
        facts_of(SENTENCES, backbone("bert", dtype=dtype), adapters)
        for dtype in ("float32", "bfloat16")
    )
    head = (D + 1) * LABELS * 2
    assert full.base_bytes == 2 * half.base_bytes - 2 * head
    assert full.base_parameters == half.base_parameters


KNOWN = """
import sys
from fl.model.adapters import LoraSettings
from fl.backbones import FromConfig
from fl.costs import known_costs
from fl.tasks import Arithmetic
from fl.settings.local_training import TrainingSettings

facts = known_costs(
    Arithmetic(num_samples=300),
    FromConfig(model_type="llama", config={config}, vocab_size=300),
    lora=LoraSettings(target_modules=("q_proj", "v_proj"), modules_to_save=()),
    training=TrainingSettings(local_steps=3),
)
assert not {{"torch", "transformers", "tokenizers"}} & set(sys.modules)
print(facts)
"""


def test_facts_of_texts_are_known_without_torch():
    facts = facts_of(SUMS, backbone("llama"), lora("q_proj", "v_proj"))
    script = KNOWN.format(config=SIZES["llama"])
    found = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == str(facts)
    other = Arithmetic(num_samples=301)
    settings = {"lora": lora("q_proj", "v_proj"), "training": TrainingSettings()}
    assert known_costs(other, backbone("llama"), **settings) is None

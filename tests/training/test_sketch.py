"""Sketches: METHOD.md 3's definition, its update rule and its known traps."""

from itertools import combinations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.model.sketch import (
    Sketch,
    compensation,
    draw_sketch,
    index_bits,
    scattered,
    sketched,
    whole_sketch,
)
from fl.settings.local_training import TrainingSettings
from fl.streams import forked, stream
from fl.training.local_training import LocalJob, train

RANK = 4


class Words:
    """Forty texts of six words with three labels."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.words = torch.from_numpy(rng.integers(1, 20, size=(40, 6)))

    def batch(self, split, indices):
        chosen = torch.from_numpy(indices)
        return {"input_ids": self.words[chosen], "labels": chosen % 3}


@pytest.fixture
def lora_model():
    torch.set_num_threads(1)
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        num_labels=3,
        initializer_range=0.5,  # gradients far above Adam's epsilon
    )
    with forked(0, "base"):
        base = BertForSequenceClassification(config)
    lora = LoraSettings(
        r=RANK, lora_alpha=6.0, target_modules=("query", "intermediate.dense")
    )
    model = LoraModel(base, lora, seed=0, precision="float64")
    numbers = stream(0, "start").normal(size=model.layout.num_numbers)
    start = model.read()
    model.write(type(start)(start.layout, start.flat + torch.from_numpy(numbers) / 10))
    return model


def trained(lora_model, sketch, *, steps=3, **settings):
    job = LocalJob(
        client_id=0,
        start_index=0,
        steps=steps,
        start=lora_model.read(),
        samples=np.arange(40),
        sketch=sketch,
    )
    options = TrainingSettings(
        **{"learning_rate": 0.05, "per_device_train_batch_size": 40, **settings}
    )
    (outcome,) = train(lora_model, Words(), [job], settings=options, seed=0)
    return job.start, outcome.adapter


def test_the_mean_over_all_index_sets_is_the_whole_product(lora_model):
    adapter = lora_model.read()
    for k in range(1, RANK + 1):
        sketches = [Sketch(j, RANK) for j in combinations(range(RANK), k)]
        for module, (lora_b, lora_a) in adapter.pairs().items():
            products = []
            for sketch in sketches:
                tensors = sketched(adapter.layout, adapter.tensors(), sketch)
                name = f"base_model.model.{module}"
                small_b = tensors[f"{name}.lora_B.weight"]
                small_a = tensors[f"{name}.lora_A.weight"]
                products.append(sketch.scale * small_b @ small_a)
            mean = torch.stack(products).mean(0)
            torch.testing.assert_close(mean, lora_b @ lora_a, rtol=0, atol=1e-14)


def test_every_index_set_is_as_likely_and_a_stream_gives_one():
    drawn = [draw_sketch(2, 4, stream(0, "sketch", c, 0)).indices for c in range(3000)]
    counts = [drawn.count(pair) for pair in combinations(range(4), 2)]
    assert sum(counts) == 3000
    # 500 expected of each, with a standard deviation of 20
    assert all(abs(count - 500) < 100 for count in counts)
    assert draw_sketch(4, 4, stream(0, "sketch", 1, 1)) == whole_sketch(4)


def test_the_sketch_has_one_index_set_for_a_and_b_in_every_layer(lora_model):
    start, after = trained(lora_model, Sketch((1, 3), RANK), weight_decay=0.1)
    for module, (lora_b, lora_a) in after.pairs().items():
        old_b, old_a = start.pairs()[module]
        assert (lora_b != old_b).any(0).tolist() == [False, True, False, True]
        assert (lora_a != old_a).any(1).tolist() == [False, True, False, True]
    assert len(after.pairs()) == 4
    assert all((after.rest()[n] != t).all() for n, t in start.rest().items())


@pytest.mark.parametrize("optim", ["sgd", "momentum", "adamw"])
def test_momentum_and_weight_decay_leave_frozen_numbers_bit_for_bit(lora_model, optim):
    sketch = Sketch((2,), RANK)
    start, after = trained(
        lora_model, sketch, optim=optim, weight_decay=0.3, max_grad_norm=0.5
    )
    others = [0, 1, 3]
    for module, (lora_b, lora_a) in after.pairs().items():
        old_b, old_a = start.pairs()[module]
        assert torch.equal(lora_b[:, others], old_b[:, others])
        assert torch.equal(lora_a[others], old_a[others])


def test_one_step_of_sgd_is_the_update_rule_of_the_paper(lora_model):
    """B - eta s (G A^T) S and A - eta s S (B^T G), G from autograd on W itself."""
    sketch, scale = Sketch((0, 2), RANK), 6.0 / RANK
    start, after = trained(lora_model, sketch, steps=1, optim="sgd")
    diagonal = torch.zeros(RANK, dtype=torch.float64)
    diagonal[[0, 2]] = RANK / 2
    gradients = dense_gradients(lora_model, start, diagonal, scale)
    for module, (lora_b, lora_a) in after.pairs().items():
        old_b, old_a = start.pairs()[module]
        gradient = gradients[module]
        wanted_b = old_b - 0.05 * scale * (gradient @ old_a.T) * diagonal
        wanted_a = old_a - 0.05 * scale * diagonal[:, None] * (old_b.T @ gradient)
        torch.testing.assert_close(lora_b, wanted_b, rtol=0, atol=1e-13)
        torch.testing.assert_close(lora_a, wanted_a, rtol=0, atol=1e-13)


def dense_gradients(lora_model, start, diagonal, scale):
    """Return the gradient at each adapted matrix W0 + s B S A, of the whole data."""
    weights = {}
    lora_model.write(start.layout.pack({n: 0 * t for n, t in start.tensors().items()}))
    for name, tensor in start.rest().items():
        parameter = name.replace("classifier.", "classifier.modules_to_save.default.")
        lora_model.model.get_parameter(parameter).data.copy_(tensor)
    for module, (lora_b, lora_a) in start.pairs().items():
        layer = lora_model.model.get_submodule(f"base_model.model.{module}.base_layer")
        moved = layer.weight.detach() + scale * (lora_b * diagonal) @ lora_a
        layer.weight = torch.nn.Parameter(moved)
        weights[module] = layer.weight
    loss, _ = lora_model.forward(Words().batch("train", np.arange(40)))
    loss.backward()
    return {module: weight.grad for module, weight in weights.items()}


def test_the_scale_is_that_of_the_global_rank(lora_model):
    """The client's model is W0 + alpha/r r/k B_J A_J: nothing divides by k twice."""
    sketch = Sketch((1,), RANK)
    _, after = trained(lora_model, sketch, steps=1, optim="sgd", learning_rate=1e-12)
    (loss,) = losses(lora_model, sketch)
    start = lora_model.read()
    zeroed = {}
    for part in start.layout.parts:
        tensor = start.tensors()[part.name].clone()
        if part.factor == "B":
            tensor[:, [0, 2, 3]] = 0
            tensor *= RANK
        zeroed[part.name] = tensor
    lora_model.write(start.layout.pack(zeroed))
    wanted, _ = lora_model.forward(Words().batch("train", np.arange(40)))
    assert loss == pytest.approx(wanted.item(), abs=1e-12)
    assert after.layout == start.layout


def losses(lora_model, sketch):
    job = LocalJob(
        client_id=0,
        start_index=0,
        steps=1,
        start=lora_model.read(),
        samples=np.arange(40),
        sketch=sketch,
    )
    settings = TrainingSettings(per_device_train_batch_size=40)
    return [
        outcome.loss
        for outcome in train(lora_model, Words(), [job], settings=settings, seed=0)
    ]


@pytest.mark.parametrize("optim", ["sgd", "momentum", "adamw"])
def test_a_sketch_of_every_index_is_plain_lora_bit_for_bit(lora_model, optim):
    options = {"optim": optim, "weight_decay": 0.1}
    _, plain = trained(lora_model, None, **options)
    _, whole = trained(lora_model, whole_sketch(RANK), **options)
    assert plain == whole


def test_adam_moves_sketched_numbers_as_far_on_average_as_plain_lora(lora_model):
    """One step of Adam is the rate times a sign: r/k of it in k/r of the draws."""
    moved = []
    for indices in combinations(range(RANK), 2):
        start, after = trained(
            lora_model, Sketch(indices, RANK), steps=1, learning_rate=1e-3
        )
        moved.append((after.flat - start.flat).abs())
        rest = [after.rest()[n] - t for n, t in start.rest().items()]
        assert max(t.abs().max() for t in rest) <= 1e-3 * (1 + 1e-9)
    start, after = trained(lora_model, None, steps=1, learning_rate=1e-3)
    plain = (after.flat - start.flat).abs()
    torch.testing.assert_close(torch.stack(moved).mean(0), plain, rtol=1e-3, atol=0)


def test_only_adam_is_compensated():
    sketch = Sketch((0, 1), 8)
    assert compensation("adamw", sketch) == 4.0
    assert compensation("sgd", sketch) == compensation("momentum", sketch) == 1.0
    assert compensation("adamw", whole_sketch(8)) == 1.0


def test_a_gain_multiplies_the_change_of_the_factors_only(lora_model):
    start = lora_model.read()
    sketch = Sketch((0, 3), RANK)
    small = sketched(start.layout, start.tensors(), sketch)
    after = scattered(start, sketch, {n: t + 1.0 for n, t in small.items()}, gain=2.0)
    for module, (lora_b, lora_a) in after.pairs().items():
        old_b, old_a = start.pairs()[module]
        steps = torch.tensor([2.0, 0.0, 0.0, 2.0], dtype=torch.float64)
        torch.testing.assert_close(lora_b - old_b, steps.expand_as(old_b))
        torch.testing.assert_close(lora_a - old_a, steps[:, None].expand_as(old_a))
    for name, tensor in start.rest().items():
        torch.testing.assert_close(after.rest()[name], tensor + 1.0)


def test_what_travels_is_what_moved(lora_model):
    sketch = Sketch((0, 2), RANK)
    start, after = trained(lora_model, sketch, optim="sgd", weight_decay=0.1)
    head = 3 * 8 + 3
    matrices = 2 * (8 + 8) + 2 * (12 + 8)  # m + n of two queries, two dense
    assert start.layout.at_rank(2).num_numbers == 2 * matrices + head
    assert int((after.flat != start.flat).sum()) == start.layout.at_rank(2).num_numbers
    assert index_bits(2, RANK) == RANK
    assert index_bits(RANK, RANK) == 0


def test_sketches_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="rank must be from 1 to the adapter's 4"):
        draw_sketch(5, 4, stream(0))
    for indices in ((), (0, 4), (-1, 2)):
        with pytest.raises(ValueError, match="a sketch needs indices from 0 to 3"):
            Sketch(indices, 4)

import pickle

import numpy as np
import pytest
import torch

from fl.backbones import SmallViT
from fl.costs import count_costs, known_costs
from fl.memory.files import cache_folder, recall, remember
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.settings.local_training import TrainingSettings
from fl.streams import forked, stream, torch_stream
from fl.tasks import Digits
from fl.training.local_training import Diverged, LocalJob, mini_batches, train

TASK = Digits()
TINY = SmallViT(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    pretrain_steps=3,
)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def lora_model_with(**lora):
    settings = LoraSettings(**{"r": 2, **lora})
    return LoraModel(TINY.load(TASK), settings, seed=0)


def jobs_for(lora_model, clients=(0,), steps=3):
    return [
        LocalJob(
            client_id=client,
            start_index=0,
            steps=steps,
            start=lora_model.read(),
            samples=np.arange(10 * client, 10 * client + 10),
        )
        for client in clients
    ]


def run(lora_model, jobs, seed=0, **settings):
    return train(
        lora_model, TASK, jobs, settings=TrainingSettings(**settings), seed=seed
    )


def test_a_forked_generator_leaves_the_global_one_alone():
    torch.manual_seed(5)
    wanted = torch.rand(2)
    torch.manual_seed(5)
    with forked(1, "a"):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), wanted)
    assert torch.equal(torch.rand(2, generator=torch_stream(1, "a")), inside)


def test_the_adapter_is_exchanged_without_loss():
    lora_model = lora_model_with()
    before = lora_model.read()
    other = before.layout.pack({n: t + 1 for n, t in before.tensors().items()})
    lora_model.write(other)
    assert lora_model.read() == other != before
    lora_model.write(before)
    assert {lora_model.read(): 1}[before] == 1


def test_the_layout_names_factors_and_the_head():
    adapter = lora_model_with().read()
    names = [f"vit.layers.{i}.attention.{p}_proj" for i in (0, 1) for p in "qv"]
    assert list(adapter.pairs()) == names
    assert {b.shape for b, _ in adapter.pairs().values()} == {(16, 2)}
    assert {a.shape for _, a in adapter.pairs().values()} == {(2, 16)}
    rest = {name: tuple(value.shape) for name, value in adapter.rest().items()}
    head = "base_model.model.classifier."
    assert rest == {f"{head}weight": (10, 16), f"{head}bias": (10,)}
    assert adapter.with_pairs(adapter.pairs(), adapter.rest()) == adapter


def test_mini_batches_are_full_and_see_every_sample_once_per_epoch():
    batches = mini_batches(np.arange(5), 3, stream(0, "b"))
    seen = np.concatenate([next(batches) for _ in range(5)])
    for epoch in seen.reshape(3, 5):
        assert sorted(epoch) == [0, 1, 2, 3, 4]


def test_a_client_does_not_depend_on_its_chunk():
    lora_model = lora_model_with(lora_dropout=0.3)
    jobs = jobs_for(lora_model, clients=(0, 1, 2))
    together = run(lora_model, jobs)
    alone = run(lora_model, jobs[1:2])
    torch.testing.assert_close(together[1].adapter.flat, alone[0].adapter.flat)
    assert together[0].adapter != together[1].adapter


def test_dropout_acts_in_training_only_and_follows_the_seed():
    plain, dropping = lora_model_with(), lora_model_with(lora_dropout=0.5)
    jobs = jobs_for(plain)
    calm, first, again = (run(model, jobs) for model in (plain, dropping, dropping))
    assert first == again
    assert first[0].adapter != calm[0].adapter
    batch = TASK.batch("test", np.arange(8))
    for model in (plain, dropping):
        model.write(first[0].adapter)
    assert torch.equal(plain.forward(batch)[1], dropping.forward(batch)[1])


def test_a_module_that_the_model_lacks_is_refused():
    with pytest.raises(ValueError, match="the model has no module 'score'"):
        lora_model_with(modules_to_save=("score",))
    with pytest.raises(
        ValueError, match="target_modules: the model has no module 'query'"
    ):
        lora_model_with(target_modules=("q_proj", "query"))


def test_a_base_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="multiple of num_attention_heads"):
        SmallViT(hidden_size=10, num_attention_heads=3)
    with pytest.raises(ValueError, match="the task has none"):
        SmallViT(pretrain_classes=[11]).load(TASK)


def test_the_frozen_base_does_not_move():
    lora_model = lora_model_with()
    frozen = [p for p in lora_model.model.parameters() if not p.requires_grad]
    before = [p.clone() for p in frozen]
    run(lora_model, jobs_for(lora_model), learning_rate=0.1)
    assert all(map(torch.equal, frozen, before))


@pytest.mark.parametrize("optim", ["sgd", "momentum", "adamw"])
def test_a_diverged_client_is_an_outcome_and_spares_the_others(optim):
    lora_model = lora_model_with()
    good, bad, other = jobs_for(lora_model, clients=(0, 1, 2))
    broken = bad.start.layout.pack(
        {n: t * float("inf") for n, t in bad.start.tensors().items()}
    )
    bad = LocalJob(
        client_id=1, start_index=4, steps=3, start=broken, samples=bad.samples
    )
    outcomes = run(lora_model, [good, bad, other], optim=optim)
    assert isinstance(outcomes[1], Diverged)
    assert pickle.loads(pickle.dumps(outcomes[1])).args == (1, 4, 0)
    assert outcomes[0::2] == run(lora_model, [good, other], optim=optim)


def test_an_overflow_in_the_last_step_is_noticed():
    lora_model = lora_model_with()
    jobs = jobs_for(lora_model, steps=1)
    (outcome,) = run(
        lora_model, jobs, optim="sgd", learning_rate=3e38, weight_decay=1e3
    )
    assert isinstance(outcome, Diverged)
    assert outcome.step == 1


def test_clipping_bounds_the_step():
    lora_model = lora_model_with()
    jobs = jobs_for(lora_model, steps=1)
    options = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.01}
    (outcome,) = run(lora_model, jobs, **options)
    moved = (outcome.adapter.flat - jobs[0].start.flat).norm().item()
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_a_pretrained_base_is_kept_and_a_damaged_one_made_again(empty_cache):
    first = TINY.load(TASK).state_dict()
    (entry,) = cache_folder().iterdir()
    whole = entry.read_bytes()
    for damage in (whole[:-1] + b"x", whole[:100], b""):
        entry.write_bytes(damage)
        assert recall(entry.name) is None
        again = TINY.load(TASK).state_dict()
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert entry.read_bytes() == whole
    assert list(cache_folder().iterdir()) == [entry]


def test_the_cache_returns_what_was_put_in(empty_cache):
    assert recall("a.json") is None
    remember("a.json", b"1\n2")
    assert recall("a.json") == b"1\n2"


def hand_flop(*, d, tokens, hidden, layers, rank, labels, pixels=4):
    """FLOP of one sample: LoRA on q and v of a pre-norm ViT, trained head."""
    projection = 2 * tokens * d * d
    mlp = 2 * (2 * tokens * d * hidden)
    product = 2 * tokens * tokens * d  # scores, and again the weighted values
    factor = 2 * tokens * rank * d  # one of A, B of one matrix
    embed, head = 2 * (tokens - 1) * d * pixels, 2 * d * labels
    forward = layers * (4 * projection + 2 * product + mlp + 4 * factor) + embed + head
    # to inputs everywhere; factors and head to their own weights too
    backward = layers * (4 * projection + 4 * product + mlp + 8 * factor) + 2 * head
    # nothing below the first layer asks for a gradient: no inputs of q, k, v and of
    # the two A, and the keys themselves need none
    return forward + backward - 3 * projection - product - 2 * factor


def facts_of(ask, lora=LoraSettings(), training=TrainingSettings()):  # noqa: B008
    return ask(TASK, TINY, lora=lora, training=training)


def test_counted_flop_equal_the_hand_formula():
    facts = facts_of(count_costs)
    for rank in (1, 8):
        by_hand = hand_flop(d=16, tokens=17, hidden=24, layers=2, rank=rank, labels=10)
        assert facts.base_flop + facts.flop_per_rank * rank == by_hand
        assert facts.training_flop(rank=rank, steps=3) == 3 * 16 * by_hand


def test_counted_parameters_equal_the_hand_count():
    facts = facts_of(count_costs)
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 24 + 24 + 16 + 4 * 16
    embeddings = 16 * 4 + 16 + 17 * 16 + 16
    assert facts.base_parameters == 2 * layer + embeddings + 2 * 16 + 170
    assert facts.num_trainable(1) - facts.num_trainable(0) == 4 * (16 + 16)
    assert facts.num_trainable(8) == 8 * 128 + 170
    memory = {
        optim: facts.training_memory_bytes(
            rank=8, training=TrainingSettings(optim=optim)
        )
        for optim in ("sgd", "momentum", "adamw")
    }
    assert memory["adamw"] - memory["momentum"] == 4 * facts.num_trainable(8)
    assert memory["momentum"] - memory["sgd"] == 4 * facts.num_trainable(8)


def test_saved_activations_grow_with_the_batch():
    small, large = (
        facts_of(
            count_costs, training=TrainingSettings(per_device_train_batch_size=size)
        )
        for size in (8, 16)
    )
    # what does not grow: the head's bias and other scraps
    assert large.saved_bytes == pytest.approx(2 * small.saved_bytes, rel=0.02)
    # at rank r each of q and v keeps A x for B's gradient: tokens x r floats
    assert large.saved_bytes_per_rank == 16 * 4 * 17 * 4


def test_facts_are_remembered_for_every_rank_and_optimiser(empty_cache):
    assert facts_of(known_costs) is None
    facts = facts_of(count_costs)
    other = TrainingSettings(optim="sgd", local_steps=5)
    assert facts_of(known_costs, LoraSettings(r=3), other) == facts

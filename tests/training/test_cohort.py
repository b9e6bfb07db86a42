"""Cohorts against one client after the other in plain PEFT and ``torch.optim``."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import HiraConfig, LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
    get_scheduler,
)

from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.model.sketch import draw_sketch
from fl.settings.local_training import TrainingSettings
from fl.streams import forked, stream
from fl.training.grouping import (
    ONE_CLIENT_PER_PASS,
    PassRule,
    Shape,
    group_clients,
    join_batches,
)
from fl.training.local_training import Diverged, LocalJob, mini_batches, train
from fl.training.losses import client_losses, num_items
from fl.training.slicing import passes

SEED = 3
TOGETHER = PassRule(max_positions=10**6, pass_cost=10**6)
CUT_TO_SINGLE_TEXTS = PassRule(max_positions=10**6, pass_cost=0)
CUT_IN_TWOS = PassRule(max_positions=20, pass_cost=2)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:fan_in_fan_out:UserWarning"),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Words:
    """Sixty texts of 3 to 9 words, with one of four labels each or to be continued."""

    def __init__(self, num_labels=None):
        rng = np.random.default_rng(0)
        self.lengths = rng.integers(3, 10, size=60)
        self.words = torch.from_numpy(rng.integers(1, 30, size=(60, 9)))
        self.num_labels = num_labels

    def batch(self, split, indices):
        lengths = torch.from_numpy(self.lengths[indices])
        words = self.words[torch.from_numpy(indices), : int(lengths.max())].clone()
        mask = torch.arange(words.shape[1])[None] < lengths[:, None]
        labels = words.masked_fill(~mask, -100)
        if self.num_labels:
            labels = torch.from_numpy(indices % self.num_labels)
        words[~mask] = 0
        return {"input_ids": words, "attention_mask": mask.long(), "labels": labels}


class Images:
    """Sixty images of noise in four classes."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.pixels = torch.from_numpy(rng.normal(size=(60, 1, 4, 4)))

    def batch(self, split, indices):
        pixels = self.pixels[torch.from_numpy(indices)]
        return {"pixel_values": pixels, "labels": torch.from_numpy(indices % 4)}


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = {
    "bert": (
        lambda: BertForSequenceClassification(
            BertConfig(vocab_size=30, intermediate_size=24, num_labels=4, **SIZES)
        ),
        Words(4),
        ("query", "value"),
        ("classifier",),
    ),
    "vit": (
        lambda: ViTForImageClassification(
            ViTConfig(
                image_size=4,
                patch_size=2,
                num_channels=1,
                intermediate_size=24,
                num_labels=4,
                **SIZES,
            )
        ),
        Images(),
        ("q_proj", "fc1"),
        ("classifier", "layernorm_after"),
    ),
    "gpt2": (
        lambda: GPT2LMHeadModel(
            GPT2Config(
                vocab_size=30,
                n_embd=16,
                n_layer=2,
                n_head=2,
                n_positions=16,
                bos_token_id=0,
                eos_token_id=0,
            )
        ),
        Words(),
        ("c_attn", "c_proj"),
        ("ln_f",),
    ),
    "llama": (
        lambda: LlamaForCausalLM(
            LlamaConfig(vocab_size=30, intermediate_size=24, **SIZES)
        ),
        Words(),
        ("q_proj", "v_proj", "down_proj"),
        ("norm",),
    ),
}


def base_of(family):
    with forked(SEED, "base"):
        return FAMILIES[family][0]()


def settings_of(family, **lora):
    _, _, targets, whole = FAMILIES[family]
    options = {"r": 4, "lora_alpha": 6.0, "modules_to_save": whole, **lora}
    return LoraSettings(target_modules=targets, **options)


def lora_model_of(family, precision="float64", **lora):
    lora_model = LoraModel(
        base_of(family), settings_of(family, **lora), seed=SEED, precision=precision
    )
    with forked(SEED, "noise"):  # B is zero at first, and hides A
        noise = torch.randn(lora_model.layout.num_numbers, dtype=torch.float64)
    start = lora_model.read()
    moved = start.flat + 0.05 * noise.to(start.flat.dtype)
    lora_model.write(type(start)(start.layout, moved))
    lora_model.rule = TOGETHER
    return lora_model


def jobs_of(lora_model, *, ranks=(4, 4, 4), steps=(20, 20, 20), sizes=(4, 4, 4)):
    full = lora_model.layout.rank
    return [
        LocalJob(
            client_id=client,
            start_index=1,
            steps=steps[client],
            start=lora_model.read(),
            samples=np.arange(20 * client, 20 * client + 20),
            sketch=draw_sketch(ranks[client], full, stream(SEED, "sketch", client, 1)),
            batch_size=sizes[client],
        )
        for client in range(len(ranks))
    ]


def in_plain_peft(family, job, settings, **lora):
    """Return PEFT's state after one client's training, by hand, in float64."""
    _, task, targets, whole = FAMILIES[family]
    shared = {"target_modules": list(targets), "modules_to_save": list(whole)}
    config = LoraConfig(r=4, **{"lora_alpha": 6, **shared, **lora})
    if lora.get("peft_type") == "hira":
        config = HiraConfig(r=4, hira_dropout=lora["lora_dropout"], **shared)
    model = get_peft_model(base_of(family), config).double().eval()
    start = job.start.tensors()
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for name, parameter in named.items():
        short = name.replace(".modules_to_save.default", "").replace(".default", "")
        short = short.replace("magnitude_vector.weight", "magnitude_vector")
        parameter.data.copy_(start[short])
    kept = torch.zeros(4, dtype=torch.float64)
    kept[list(job.sketch.indices)] = 1.0
    masks = {name: mask_of(name, kept, job.trains) for name in named}
    for name, module in model.named_modules():
        is_adapted = any(n in ("lora_A", "hira_A") for n, _ in module.named_children())
        module.training = is_adapted or "lora_dropout" in name or "hira_dropout" in name
        if name.endswith("lora_A.default") and len(job.sketch.indices) < 4:  # s B S A x
            module.register_forward_hook(lambda _, __, y: y * kept * (4 / kept.sum()))
    optimiser = {
        "sgd": lambda p, **o: torch.optim.SGD(p, **o),
        "momentum": lambda p, **o: torch.optim.SGD(p, momentum=0.9, **o),
        "adamw": lambda p, **o: torch.optim.AdamW(p, **o),
    }[settings.optim](
        named.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = get_scheduler(
        settings.lr_scheduler_type, optimiser, settings.warmup_steps, job.steps
    )
    before = {name: p.detach().clone() for name, p in named.items()}
    size = job.batch_size * settings.gradient_accumulation_steps
    batches = mini_batches(
        job.samples, size, stream(SEED, "batch", job.client_id, job.start_index)
    )
    with forked(SEED, "dropout", job.client_id, job.start_index):
        for _ in range(job.steps):
            batch = task.batch("train", next(batches))
            labels = batch.pop("labels")
            logits = model(**batch).logits
            if labels.dim() == 2:
                logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(logits, labels).backward()
            if settings.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(named.values(), settings.max_grad_norm)
            optimiser.step()
            schedule.step()
            for name, parameter in named.items():
                changed = parameter.data - before[name]
                parameter.data.copy_(before[name] + changed * masks[name])
    for name, parameter in named.items():
        if settings.optim == "adamw" and "lora_" in name:
            change = (parameter.data - before[name]) * 4 / kept.sum()
            parameter.data.copy_(before[name] + change)
    return get_peft_model_state_dict(model)


def mask_of(name, kept, trains):
    if "lora_A" in name:
        return kept[:, None] * ("A" in trains)
    if "lora_B" in name:
        return kept[None, :] * ("B" in trains)
    return torch.ones(1, dtype=kept.dtype)


def assert_equal_to_peft(family, jobs, outcomes, settings, tolerance=1e-10, **lora):
    for job, outcome in zip(jobs, outcomes, strict=True):
        wanted = in_plain_peft(family, job, settings, **lora)
        found = outcome.adapter.tensors()
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=tolerance)


def run(family, lora_model, jobs, settings):
    return train(lora_model, FAMILIES[family][1], jobs, settings=settings, seed=SEED)


@pytest.mark.parametrize("ranks", [(4, 4, 4), (1, 2, 3)])
@pytest.mark.parametrize("optim", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("family", FAMILIES)
def test_twenty_steps_together_equal_plain_peft(family, optim, ranks):
    settings = TrainingSettings(learning_rate=0.01, optim=optim, weight_decay=0.01)
    lora_model = lora_model_of(family)
    jobs = jobs_of(lora_model, ranks=ranks)
    outcomes = run(family, lora_model, jobs, settings)
    assert_equal_to_peft(family, jobs, outcomes, settings)


@pytest.mark.parametrize("schedule", ["constant_with_warmup", "linear", "cosine"])
def test_unequal_steps_and_batches_schedules_clipping_and_rslora(schedule):
    settings = TrainingSettings(
        learning_rate=0.02,
        lr_scheduler_type=schedule,
        warmup_steps=3,
        max_grad_norm=0.1,
        optim="momentum",
    )
    lora_model = lora_model_of("bert", lora_alpha=3.0)
    jobs = jobs_of(lora_model, steps=(5, 9, 2), sizes=(4, 2, 4), ranks=(4, 3, 4))
    outcomes = run("bert", lora_model, jobs, settings)
    assert_equal_to_peft("bert", jobs, outcomes, settings, lora_alpha=3)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_dropout_draws_what_each_client_alone_would_draw(family):
    settings = TrainingSettings(learning_rate=0.01, optim="sgd")
    lora_model = lora_model_of(family, lora_dropout=0.4)
    jobs = jobs_of(lora_model, ranks=(4, 2, 4), steps=(4, 4, 3))
    outcomes = run(family, lora_model, jobs, settings)
    assert_equal_to_peft(family, jobs, outcomes, settings, lora_dropout=0.4)


@pytest.mark.parametrize("family", ["vit", "llama"])
def test_accumulated_batches_are_one_large_batch(family):
    settings = TrainingSettings(
        learning_rate=0.01, gradient_accumulation_steps=3, max_grad_norm=0.2
    )
    lora_model = lora_model_of(family)
    jobs = jobs_of(lora_model, steps=(3, 3, 3), sizes=(2, 2, 2))
    outcomes = run(family, lora_model, jobs, settings)
    assert_equal_to_peft(family, jobs, outcomes, settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_step_gradients_in_float32_equal_those_of_plain_peft(family):
    settings = TrainingSettings(learning_rate=1.0, optim="sgd")
    lora_model = lora_model_of(family, precision="float32")
    jobs = jobs_of(lora_model, steps=(1, 1, 1))
    for job, outcome in zip(jobs, run(family, lora_model, jobs, settings), strict=True):
        wanted = in_plain_peft(family, job, settings)  # in float64
        start = job.start.tensors()
        for name, found in outcome.adapter.tensors().items():
            gradient = (start[name] - found).double()
            exact = start[name].double() - wanted[name]
            # the update itself is rounded once, at the size of the number it moves
            rounding = 1e-7 * start[name].norm()
            assert (gradient - exact).norm() <= 1e-6 * exact.norm() + rounding


@pytest.mark.parametrize("family", FAMILIES)
def test_every_grouping_gives_the_same_up_to_rounding(family):
    settings = TrainingSettings(learning_rate=0.01, lr_scheduler_type="linear")
    lora_model = lora_model_of(family)
    jobs = jobs_of(lora_model, steps=(6, 4, 6))
    together = run(family, lora_model, jobs, settings)
    for rule in (ONE_CLIENT_PER_PASS, CUT_TO_SINGLE_TEXTS, CUT_IN_TWOS):
        lora_model.rule = rule
        others = run(family, lora_model, jobs, settings)
        for one, other in zip(together, others, strict=True):
            torch.testing.assert_close(
                one.adapter.flat, other.adapter.flat, rtol=0, atol=1e-11
            )
            assert one.loss == pytest.approx(other.loss, abs=1e-12)


def test_a_chunk_trained_twice_is_bit_identical():
    settings = TrainingSettings(learning_rate=0.01)
    lora_model = lora_model_of("bert", precision="float32", lora_dropout=0.2)
    jobs = jobs_of(lora_model, ranks=(4, 1, 2), steps=(5, 3, 5), sizes=(2, 3, 2))
    first = run("bert", lora_model, jobs, settings)
    assert run(
        "bert", lora_model_of("bert", "float32", lora_dropout=0.2), jobs, settings
    )
    assert run("bert", lora_model, jobs, settings) == first
    backwards = run("bert", lora_model, jobs[::-1], settings)
    for one, other in zip(first, backwards[::-1], strict=True):
        torch.testing.assert_close(one.adapter.flat, other.adapter.flat)


def test_training_leaves_the_resident_adapter_and_the_model_as_they_were():
    lora_model = lora_model_of("llama")
    before = lora_model.read()
    batch = FAMILIES["llama"][1].batch("train", np.arange(4))
    loss = lora_model.forward(batch)[0]
    run("llama", lora_model, jobs_of(lora_model, steps=(2, 2, 2)), TrainingSettings())
    assert lora_model.read() == before
    assert torch.equal(lora_model.forward(batch)[0], loss)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_client_of_not_a_number_changes_no_bit_of_the_others(family):
    lora_model = lora_model_of(family)
    good, bad, other = jobs_of(lora_model, steps=(4, 4, 4))
    settings = TrainingSettings(learning_rate=0.01, max_grad_norm=1.0)
    calm = run(family, lora_model, [good, bad, other], settings)
    start = bad.start
    broken = type(start)(start.layout, start.flat * float("nan"))
    bad = LocalJob(
        client_id=1,
        start_index=1,
        steps=4,
        start=broken,
        samples=bad.samples,
        sketch=bad.sketch,
        batch_size=4,
    )
    outcomes = run(family, lora_model, [good, bad, other], settings)
    assert isinstance(outcomes[1], Diverged)
    assert outcomes[::2] == calm[::2]


def test_clients_of_other_full_ranks_train_beside_each_other():
    lora_model = lora_model_of("bert")
    narrow = lora_model.layout.at_rank(2)
    numbers = stream(SEED, "narrow").normal(size=narrow.num_numbers)
    start = type(lora_model.read())(narrow, torch.from_numpy(0.05 * numbers))
    wide, _, other = jobs_of(lora_model, steps=(3, 3, 3))
    small = LocalJob(
        client_id=1,
        start_index=1,
        steps=3,
        start=start,
        samples=wide.samples,
    )
    settings = TrainingSettings(learning_rate=0.01, per_device_train_batch_size=4)
    together = run("bert", lora_model, [wide, small, other], settings)
    alone = run("bert", lora_model, [small], settings)
    assert small.rank == 2
    assert together[1].adapter.layout == narrow
    torch.testing.assert_close(
        together[1].adapter.flat, alone[0].adapter.flat, rtol=0, atol=1e-12
    )


def texts(*shapes):
    return [
        {
            "input_ids": torch.ones(size, length, dtype=torch.long),
            "labels": torch.zeros(size, dtype=torch.long),
        }
        for size, length in shapes
    ]


def test_a_pass_takes_clients_until_it_is_full_or_pads_too_much():
    shapes = [
        Shape(*shape)
        for shape in ((2, 10), (2, 30), (2, 11), (2, 10), (3, 10), (2, 31))
    ]
    rule = PassRule(max_positions=100, pass_cost=4)
    assert group_clients(shapes, rule) == [[0, 3, 2], [1], [5], [4]]
    roomy = PassRule(max_positions=140, pass_cost=4)
    assert group_clients(shapes, roomy) == [[0, 3, 2], [1, 5], [4]]
    assert group_clients(shapes, ONE_CLIENT_PER_PASS) == [[0], [3], [2], [1], [5], [4]]


def ragged(*lengths, causal=False):
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    words = mask * torch.arange(1, len(lengths) + 1)[:, None]
    labels = words.masked_fill(mask == 0, -100) if causal else words[:, 0]
    return {"input_ids": words, "attention_mask": mask, "labels": labels}


def shown(found):
    return [[(row, part["labels"].tolist()) for row, part in group] for group in found]


def test_a_batch_of_unequal_texts_is_cut_where_padding_costs_more_than_passes():
    batches = [ragged(9, 2, 10, 2), ragged(2, 9, 2, 9)]
    # 2 passes of 4 x 2 and 4 x 10 positions, for one of 8 x 10
    found = passes(batches, PassRule(max_positions=1000, pass_cost=10))
    assert shown(found) == [[(0, [2, 4]), (1, [1, 3])], [(1, [2, 4]), (0, [1, 3])]]
    widths = [[part["input_ids"].shape for _, part in group] for group in found]
    assert widths == [[(2, 2), (2, 2)], [(2, 9), (2, 10)]]
    dear = PassRule(max_positions=1000, pass_cost=100)
    assert shown(passes(batches, dear)) == [[(1, [1, 2, 3, 4]), (0, [1, 2, 3, 4])]]
    uncut = PassRule(max_positions=1000, pass_cost=1, slices_texts=False)
    assert all(
        len(part["labels"]) == 4 for g in passes(batches, uncut) for _, part in g
    )


@pytest.mark.parametrize("causal", [False, True])
def test_a_slice_ends_with_its_longest_text(causal):
    ((short,), (long,)) = passes(
        [ragged(7, 2, 3, 7, causal=causal)], PassRule(max_positions=1000, pass_cost=0)
    )[:2]
    assert short.batch["input_ids"].tolist() == [[2, 2]]
    assert long.batch["labels"].tolist() == ([[3, 3, 3]] if causal else [3])


def test_only_texts_that_are_padded_at_their_end_are_cut():
    rule = PassRule(max_positions=1000, pass_cost=0)
    left = ragged(2, 9)
    left["attention_mask"] = left["attention_mask"].flip(1)
    labelled = ragged(2, 9, causal=True)
    labelled["labels"][0, 5] = 1
    bare = {name: ragged(2, 9)[name] for name in ("input_ids", "labels")}
    for batch in (left, labelled, bare, {"labels": torch.zeros(4)}):
        ((only,),) = passes([batch], rule)
        assert only.batch is batch


def test_joined_texts_are_padded_to_the_longest_and_masked():
    first, second = texts((1, 2), (1, 4))
    first["labels"], second["labels"] = first["input_ids"], second["input_ids"]
    whole = join_batches([first, second], pad_token_id=9)
    assert whole["input_ids"].tolist() == [[1, 1, 9, 9], [1, 1, 1, 1]]
    assert whole["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert whole["labels"].tolist() == [[1, 1, -100, -100], [1, 1, 1, 1]]
    assert "attention_mask" not in join_batches([first], pad_token_id=9)


def test_the_loss_of_a_text_is_over_what_is_to_be_predicted():
    logits = torch.zeros(2, 3, 5)
    labels = torch.tensor([[0, 1, 2], [3, -100, 4]])
    assert num_items(labels[:1]) == 2
    assert num_items(labels[1:]) == 1
    losses = client_losses(logits, labels, torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(losses, torch.full((2,), float(np.log(5))))
    with pytest.raises(ValueError, match="only classification and causal"):
        client_losses(logits, torch.tensor([0, 1]), torch.tensor([1.0, 1.0]))


def test_a_warm_up_needs_a_schedule():
    with pytest.raises(ValueError, match="constant_with_warmup, linear or cosine"):
        TrainingSettings(warmup_steps=2)


@pytest.mark.parametrize("trains", ["A", "B"])
def test_a_factor_that_rests_moves_no_bit_and_the_other_as_if_it_were_frozen(trains):
    settings = TrainingSettings(learning_rate=0.01, weight_decay=0.1)
    lora_model = lora_model_of("llama")
    jobs = [
        replace(job, trains=(trains,))
        for job in jobs_of(lora_model, ranks=(4, 2, 4), steps=(3, 3, 3))
    ]
    outcomes = run("llama", lora_model, jobs, settings)
    for job, outcome in zip(jobs, outcomes, strict=True):
        wanted = in_plain_peft("llama", job, settings)
        for name, tensor in outcome.adapter.tensors().items():
            torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=1e-10)
            resting = "lora_" in name and f"lora_{trains}" not in name
            assert torch.equal(tensor, job.start.tensors()[name]) == resting


def test_rank_stabilised_scaling_is_that_of_peft():
    settings = TrainingSettings(learning_rate=0.01, optim="sgd")
    lora_model = lora_model_of("bert", use_rslora=True)
    assert lora_model.linears[0].scale == 3.0  # 6 / sqrt(4), not 6 / 4
    jobs = jobs_of(lora_model, ranks=(4, 2, 4), steps=(3, 3, 3))
    outcomes = run("bert", lora_model, jobs, settings)
    assert_equal_to_peft("bert", jobs, outcomes, settings, use_rslora=True)


@pytest.mark.parametrize("method", [{"use_dora": True}, {"peft_type": "hira"}])
def test_layers_that_are_not_plain_lora_train_one_after_the_other(method):
    lora = {"lora_alpha": 16.0, "lora_dropout": 0.2, **method}
    settings = TrainingSettings(learning_rate=0.01, max_grad_norm=1.0)
    lora_model = lora_model_of("bert", **lora)
    assert not lora_model.is_stackable
    jobs = jobs_of(lora_model, steps=(3, 2, 3))
    outcomes = run("bert", lora_model, jobs, settings)
    for job, outcome in zip(jobs, outcomes, strict=True):
        wanted = in_plain_peft("bert", job, settings, **lora)
        assert outcome.adapter.tensors().keys() == wanted.keys()
        for name, tensor in outcome.adapter.tensors().items():
            torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="only plain LoRA can be sketched"):
        run("bert", lora_model, jobs_of(lora_model, ranks=(2, 2, 2)), settings)

import os
import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from fl.aggregation import AGGREGATIONS, FedExLora, FloraNA
from fl.backbones import FromConfig
from fl.contract import Arrival, Job, Merged
from fl.federation.federation import Federation
from fl.federation.merging import squared_changes
from fl.memory.store import Store
from fl.model.adapters import Adapter, Layout, Part
from fl.model.evaluation_settings import EvaluationSettings
from fl.model.payload import Payload
from fl.settings.federation import FederationSettings
from fl.settings.local_training import TrainingSettings
from fl.streams import forked, stream
from fl.tasks import Digits
from fl.training.local_training import Diverged, mini_batches
from tests.support.federations import (
    SEED,
    TINY,
    federation,
    numbers,
    submit,
    two_rounds,
)


def hand_written_loop(training, *, num_rounds, steps):
    """Return PEFT's state after ordinary training of one client on all samples."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    config = LoraConfig(
        r=2,
        lora_alpha=6,
        target_modules=["q_proj", "v_proj"],
        modules_to_save=["classifier"],
    )
    with forked(SEED, "lora init"):
        model = get_peft_model(TINY.load(Digits()), config).double().eval()
    optimisers = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.01),
        "momentum": lambda p: torch.optim.SGD(
            p, lr=0.05, momentum=0.9, weight_decay=0.01
        ),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.01),
    }
    samples = np.arange(len(Digits().labels("train")))
    for index in range(num_rounds):
        trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = optimisers[training.optim](trained)
        batches = mini_batches(samples, 16, stream(SEED, "batch", 0, index))
        for _ in range(steps):
            batch = Digits().batch("train", next(batches))
            output = model(
                pixel_values=batch["pixel_values"].double(), labels=batch["labels"]
            )
            optimiser.zero_grad()
            output.loss.backward()
            optimiser.step()
    return get_peft_model_state_dict(model)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("optim", ["sgd", "momentum", "adamw"])
def test_one_client_of_weight_one_is_ordinary_peft_training(optim, tmp_path):
    training = TrainingSettings(learning_rate=0.05, optim=optim, weight_decay=0.01)
    fed = federation(num_clients=1, training=training)
    version = fed.initial_version
    for index in range(3):
        job = submit(fed, 0, version, start_index=index, steps=7)
        version = fed.merge(version, [Arrival(job, 1.0)]).version
    wanted = hand_written_loop(training, num_rounds=3, steps=7)
    found = numbers(fed, version, tmp_path)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert tensor.dtype == torch.float64
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-10)


def trained_alone(client, version_of, tmp_path, start_index=0):
    """Return what one client makes of a version, by merging it with weight one."""
    fed = federation()
    version = version_of(fed)
    job = submit(fed, client, version, start_index)
    after = fed.merge(version, [Arrival(job, 1.0)]).version
    return numbers(fed, after, tmp_path / f"alone-{client}-{start_index}")


def test_inverse_probability_weights_add_weighted_changes(tmp_path):
    fed = federation()
    first = fed.initial_version
    start = numbers(fed, first, tmp_path)
    weights = {0: 0.9, 2: 0.4}  # they need not sum to one
    jobs = {client: submit(fed, client, first) for client in weights}
    arrivals = [Arrival(jobs[client], weights[client]) for client in (2, 0)]
    merged = fed.merge(first, arrivals)
    found = numbers(fed, merged.version, tmp_path)
    for name, tensor in found.items():
        wanted = start[name].clone()
        for client, weight in weights.items():
            alone = trained_alone(client, lambda f: f.initial_version, tmp_path)
            wanted += weight * (alone[name] - start[name])
        torch.testing.assert_close(tensor, wanted, rtol=0, atol=1e-12)
    assert {row.num_components for row in merged.layers} == {3}


def test_a_late_client_adds_its_change_since_the_version_it_started_from(tmp_path):
    def after_client_zero(fed):
        job = submit(fed, 0, fed.initial_version)
        return fed.merge(fed.initial_version, [Arrival(job, 0.5)]).version

    fed = federation()
    first = fed.initial_version
    late = submit(fed, 1, first)
    start = numbers(fed, first, tmp_path)
    second = after_client_zero(fed)
    current = numbers(fed, second, tmp_path)
    merged = fed.merge(second, [Arrival(late, 0.3)])
    found = numbers(fed, merged.version, tmp_path)
    alone = trained_alone(1, lambda f: f.initial_version, tmp_path)
    for name, tensor in found.items():
        wanted = current[name] + 0.3 * (alone[name] - start[name])
        torch.testing.assert_close(tensor, wanted, rtol=0, atol=1e-12)
    assert {row.num_components for row in merged.layers} == {3}


def test_a_mixed_client_takes_a_part_of_the_newest_versions_place(tmp_path):
    """``(1 - w) x + w x_client``, wherever the client started (arXiv 1903.03934)."""
    fed = federation()
    first = fed.initial_version
    late = submit(fed, 1, first)
    job = submit(fed, 0, first)
    second = fed.merge(first, [Arrival(job, 0.5, is_mixed=True)]).version
    current = numbers(fed, second, tmp_path)
    merged = fed.merge(second, [Arrival(late, 0.3, is_mixed=True)])
    found = numbers(fed, merged.version, tmp_path)
    alone = trained_alone(1, lambda f: f.initial_version, tmp_path)
    for name, tensor in found.items():
        wanted = 0.7 * current[name] + 0.3 * alone[name]
        torch.testing.assert_close(tensor, wanted, rtol=0, atol=1e-12)
    assert {row.num_components for row in merged.layers} == {2}
    other = federation()
    submit(other, 0, first)
    assert second != other.merge(first, [Arrival(job, 0.5)]).version


def test_weights_that_sum_to_one_leave_the_old_version_out():
    fed = federation()
    first = fed.initial_version
    arrivals = [
        Arrival(submit(fed, c, first), w) for c, w in enumerate((0.1, 0.2, 0.7))
    ]
    merged = fed.merge(first, arrivals)
    assert {row.num_components for row in merged.layers} == {3}


def test_a_merge_without_arrivals_changes_nothing():
    fed = federation()
    assert fed.merge(fed.initial_version, []) == Merged(fed.initial_version)


@pytest.mark.parametrize("kind", AGGREGATIONS)
def test_rows_name_layer_and_method(kind):
    fed = federation(aggregation=AGGREGATIONS[kind](), precision="float32")
    first = fed.initial_version
    rows = fed.merge(first, [Arrival(submit(fed, 1, first), 0.5)]).layers
    assert [row.layer for row in rows] == [
        f"vit.layers.{i}.attention.{p}_proj" for i in (0, 1) for p in "qv"
    ]
    assert {(row.method, row.num_components) for row in rows} == {(kind, 2)}
    if kind not in ("hetlora", "florist"):  # they weigh otherwise, or leave out a tail
        assert all(row.relative_error <= row.average_relative_error for row in rows)


def test_arrival_order_does_not_matter():
    def version_and_digest(order):
        fed = federation(aggregation=FloraNA(), precision="float32")
        first = fed.initial_version
        jobs = [submit(fed, client, first) for client in range(3)]
        merged = fed.merge(first, [Arrival(jobs[c], 0.5) for c in order])
        return merged.version, fed.adapter_digest(merged.version)

    assert version_and_digest((0, 1, 2)) == version_and_digest((2, 0, 1))


def test_versions_are_kept_while_a_job_may_need_them():
    fed = federation()
    first = fed.initial_version
    late, gone = submit(fed, 0, first), submit(fed, 2, first)
    second = fed.merge(first, [Arrival(submit(fed, 1, first), 0.5)]).version
    assert fed.adapter_digest(first) != fed.adapter_digest(second)
    fed.withdraw(gone)
    third = fed.merge(second, [Arrival(late, 0.5)]).version
    assert fed.adapter_digest(third)
    with pytest.raises(KeyError):
        fed.adapter_digest(second)
    assert fed.adapter_digest(first)  # pilots start from it


def test_metrics_outlive_their_version():
    fed = federation()
    first = fed.initial_version
    metrics = fed.evaluate(first)
    assert (metrics.split, metrics.num_samples) == ("test", 445)
    assert 0 <= metrics.accuracy <= 1 < metrics.loss
    fed.merge(first, [Arrival(submit(fed, 1, first), 0.5)])
    assert fed.evaluate(first) == metrics


def test_a_diverged_client_that_ends_learning_leaves_the_federation_as_it_was():
    training = TrainingSettings(learning_rate=1e300, optim="sgd")
    fed = federation(training=training, on_divergence="stop")
    first = fed.initial_version
    before = fed.adapter_digest(first)
    job = submit(fed, 1, first)
    with pytest.raises(Diverged, match="client 1, start 0"):
        fed.merge(first, [Arrival(job, 0.5)])
    assert fed.adapter_digest(first) == before
    fed.withdraw(job)


def test_jobs_that_cannot_be_are_refused():
    fed = federation()
    first = fed.initial_version
    submit(fed, 0, first)
    with pytest.raises(ValueError, match="under way"):
        submit(fed, 0, first)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        submit(fed, 1, first, steps=0)
    job = Job(client_id=1, start_index=0, round_id=0, version=first, steps=1, rank=3)
    with pytest.raises(ValueError, match="rank must be 1 to the adapter's 2, got 3"):
        fed.submit(job)


def test_bfloat16_rounds_what_travels_both_ways(tmp_path):
    assert Payload(precision="bfloat16").bits_per_number == 16
    fed = federation(payload=Payload(precision="bfloat16"), precision="float32")
    first = fed.initial_version
    start = numbers(fed, first, tmp_path)
    job = submit(fed, 0, first)
    merged = fed.merge(first, [Arrival(job, 1.0)])
    assert {row.num_components for row in merged.layers} == {3}
    found = numbers(fed, merged.version, tmp_path)
    for name, tensor in found.items():
        # X + (received - sent): the change is a difference of two rounded adapters
        sent = start[name].bfloat16().float()
        received = sent + tensor - start[name]
        torch.testing.assert_close(
            received, received.bfloat16().float(), rtol=0, atol=1e-6
        )


@pytest.mark.slow
def test_two_processes_give_the_same_adapter(tmp_path):
    """The other one has a cache and a hash seed of its own."""
    code = "from tests.support.federations import two_rounds; print(two_rounds())"
    path = os.pathsep.join(sys.path)
    elsewhere = {"PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **elsewhere, "PYTHONHASHSEED": "12345"},
    )
    assert found.stdout.strip() == str(two_rounds())


def test_another_process_is_sent_the_settings_alone():
    fed = federation()
    before = pickle.dumps(fed._model)
    assert fed._model.lora_model
    assert pickle.dumps(fed._model) == before


@pytest.mark.slow
def test_workers_leave_the_same_numbers_and_the_same_divergence():
    found = []
    for workers in (1, 2):
        fed = federation(cohort_size=1, workers=workers)
        jobs = [submit(fed, client, fed.initial_version) for client in range(3)]
        merged = fed.merge(fed.initial_version, [Arrival(job, 0.3) for job in jobs])
        found.append(fed.adapter_digest(merged.version))
        fed.close()
        wild = TrainingSettings(learning_rate=1e300, optim="sgd")
        fed = federation(
            cohort_size=1, workers=workers, training=wild, on_divergence="stop"
        )
        jobs = [submit(fed, client, fed.initial_version) for client in range(3)]
        with pytest.raises(Diverged, match="client 0"):
            fed.merge(fed.initial_version, [Arrival(job, 0.3) for job in jobs])
        fed.close()
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_default_federation_learns():
    num_clients, num_rounds = 20, 9
    fed = Federation(FederationSettings(), num_clients=num_clients, seed=1)
    shares = np.array(fed.num_samples) / sum(fed.num_samples)
    version, starts = fed.initial_version, [0] * num_clients
    accuracy = [fed.evaluate(version).accuracy]
    for index in range(num_rounds):
        drawn = np.flatnonzero(stream(1, "sampling", index).random(num_clients) < 0.5)
        arrivals = []
        for client in drawn.tolist():
            job = Job(
                client_id=client,
                start_index=starts[client],
                round_id=index,
                version=version,
                steps=10,
                rank=8,
            )
            starts[client] += 1
            arrivals.append(Arrival(fed.submit(job), shares[client] / 0.5))
        version = fed.merge(version, arrivals).version
        accuracy.append(fed.evaluate(version).accuracy)
    assert 0.4 < accuracy[0] < 0.55
    assert accuracy[-1] > 0.78
    assert np.mean([after >= before for before, after in pairwise(accuracy)]) > 0.6


@pytest.mark.parametrize(
    "aggregation", [FloraNA(), FedExLora()], ids=["pairs", "folds"]
)
def test_the_average_of_versions_is_that_of_their_models(aggregation):
    settings = EvaluationSettings(average=0.5)
    fed = federation(evaluation=settings, aggregation=aggregation)
    models, version = [], fed.initial_version
    assert fed.evaluate(version) == fed.measured(fed._versions.model(version))
    for index in range(3):
        jobs = [submit(fed, client, version, index) for client in range(2)]
        version = fed.merge(version, [Arrival(job, 0.5) for job in jobs]).version
        models.append(fed._versions.model(version))
    found = fed._averages.model(version)
    shares = np.array([0.25, 0.5, 1.0]) / 1.75
    for name, fold in found.folds().items():
        pairs = [model.adapter.pairs()[name] for model in models]
        folds = [model.folds().get(name, 0.0) for model in models]
        parts = [b @ a + one for (b, a), one in zip(pairs, folds, strict=True)]
        assert float(found.adapter.pairs()[name].lora_b.abs().max()) == 0
        wanted = sum(w * part for w, part in zip(shares, parts, strict=True))
        assert float((fold - wanted).abs().max()) < 1e-6
    for name, one in found.adapter.rest().items():
        rest = [model.adapter.rest()[name] for model in models]
        wanted = sum(w * part for w, part in zip(shares, rest, strict=True))
        assert float((one - wanted).abs().max()) < 1e-6
    assert fed.evaluate(version) == fed.measured(found)
    assert fed.evaluate(version) != fed.measured(models[-1])


def test_a_merge_tells_how_far_each_client_moved_in_the_order_asked(tmp_path):
    fed = federation()
    first = fed.initial_version
    start = numbers(fed, first, tmp_path)
    jobs = [submit(fed, client, first) for client in (2, 0)]
    merged = fed.merge(first, [Arrival(job, 0.5) for job in jobs])
    wanted = []
    for client in (2, 0):
        alone = trained_alone(client, lambda f: f.initial_version, tmp_path)
        wanted.append(sum(float((alone[k] - start[k]).square().sum()) for k in start))
    assert merged.norms2 == pytest.approx(tuple(wanted), rel=1e-9)
    assert wanted[0] != pytest.approx(wanted[1], rel=1e-3)


def test_the_sum_of_changes_is_that_of_the_whole_with_zeros_where_a_rank_ends():
    parts = (
        Part("w.lora_A", (3, 5), "w", "A"),
        Part("w.lora_B", (6, 3), "w", "B"),
        Part("head", (4,), "head", None),
    )
    whole = Layout(parts)
    layouts, weights = [whole, whole.at_rank(1), whole.at_rank(2)], [0.5, 2.0, -0.25]
    rng = np.random.default_rng(1)

    def adapter(layout):
        return Adapter(layout, torch.from_numpy(rng.normal(size=layout.num_numbers)))

    starts, ends = map(adapter, layouts), map(adapter, layouts)
    pairs = list(zip(starts, ends, strict=True))
    for without in ((), ("A",), ("rest",)):
        total = {part.name: np.zeros(part.shape) for part in parts}
        for (start, end), weight in zip(pairs, weights, strict=True):
            before, after = (one.layout.views(one.flat) for one in (start, end))
            for part in parts:
                if (part.factor or "rest") not in without:
                    change = (after[part.name] - before[part.name]).numpy()
                    missing = np.subtract(part.shape, change.shape).tolist()
                    whole_change = np.pad(change, [(0, n) for n in missing])
                    total[part.name] += weight * whole_change
        found = squared_changes(*zip(*pairs, strict=True), weights, without=without)
        wanted = sum(float((one**2).sum()) for one in total.values())
        assert found.sum_norm2 == pytest.approx(wanted, rel=1e-12)


class Shifted(Digits):
    """The digits, each called by the next one's name."""

    @property
    def digest(self):
        return f"{super().digest} shifted"

    def labels(self, split):
        return (super().labels(split) + 1) % 10

    def batch(self, split, indices):
        found = super().batch(split, indices)
        return {**found, "labels": (found["labels"] + 1) % 10}


def test_an_evaluation_of_the_first_version_is_named_by_its_data(tmp_path):
    """Of a backbone that does not depend on the data."""
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    image = {"image_size": 8, "patch_size": 4, "num_channels": 1}
    backbone = FromConfig(model_type="vit", config={**small, **image})
    found = []
    for task in (Digits(), Shifted()):
        fed = federation(store=Store(tmp_path), task=task, backbone=backbone)
        found.append(fed.evaluate(fed.initial_version).loss)
    assert found[0] != found[1]

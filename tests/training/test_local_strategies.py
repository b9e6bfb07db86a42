"""FedProx, SCAFFOLD and DP-SGD in cohorts against plain loops in float64."""

import numpy as np
import pytest
import torch

from fl.aggregation import FedIT
from fl.backbones import SmallViT
from fl.contract import Arrival
from fl.federation.traffic import Traffic
from fl.local.dp_sgd import DPSGD, poisson
from fl.local.fedprox import FedProx
from fl.local.plain import Plain
from fl.local.scaffold import Scaffold
from fl.local.strategy import PLAIN
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.model.payload import Extent, Payload, Shape
from fl.model.sketch import own_rank
from fl.partition import IID
from fl.settings.conflicts import conflicts
from fl.settings.federation import FederationSettings
from fl.settings.local_training import TrainingSettings
from fl.streams import stream, torch_stream
from fl.tasks import Digits
from fl.training.local_training import LocalJob, mini_batches, train
from tests.support.federations import SEED, TINY, federation, submit

TASK = Digits()
SMALL = SmallViT(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=24,
    pretrain_steps=3,
)


def lora_model_of(**lora):
    settings = LoraSettings(**{"r": 2, **lora})
    return LoraModel(SMALL.load(TASK), settings, seed=0, precision="float64")


def jobs_of(lora_model, *, steps=(3, 4, 2), **options):
    start = lora_model.read()
    moved = start.flat + 0.05 * torch.randn(
        len(start.flat), dtype=torch.float64, generator=torch_stream(0, "moved")
    )
    return [
        LocalJob(
            client_id=client,
            start_index=1,
            steps=num_steps,
            start=type(start)(start.layout, moved),
            samples=np.arange(10 * client, 10 * client + 10),
            batch_size=4,
            **options,
        )
        for client, num_steps in enumerate(steps)
    ]


def gradient(lora_model, flat, samples):
    """Return the gradient of plain PEFT's mean loss."""
    lora_model.write_flat(flat)
    loss, _ = lora_model.forward(TASK.batch("train", samples))
    found = torch.autograd.grad(loss, lora_model.parameters)
    return torch.cat([one.flatten() for one in found])


def draws(job, draw=mini_batches):
    rng = stream(SEED, "batch", job.client_id, job.start_index)
    return draw(job.samples, job.batch_size, rng)


def assert_equal(lora_model, jobs, settings, how, alone):
    outcomes = train(lora_model, TASK, jobs, settings=settings, seed=SEED, how=how)
    for job, outcome in zip(jobs, outcomes, strict=True):
        wanted = alone(job)
        torch.testing.assert_close(outcome.adapter.flat, wanted, rtol=0, atol=1e-10)
    return outcomes


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}])
def test_fedprox_equals_a_loop_with_the_distance_in_the_loss(lora):
    lora_model = lora_model_of(**lora)
    settings = TrainingSettings(learning_rate=0.02, optim="adamw", max_grad_norm=0.5)

    def alone(job):
        values = torch.nn.Parameter(job.start.flat.clone())
        optimiser = torch.optim.AdamW([values], lr=0.02, weight_decay=0.0)
        batches = draws(job)
        for _ in range(job.steps):
            optimiser.zero_grad()
            (0.5 * 3.0 * (values - job.start.flat).square().sum()).backward()
            values.grad += gradient(lora_model, values.detach(), next(batches))
            torch.nn.utils.clip_grad_norm_([values], 0.5)
            optimiser.step()
        return values.detach()

    jobs = jobs_of(lora_model)
    near = assert_equal(lora_model, jobs, settings, FedProx(mu=3.0), alone)
    free = train(lora_model, TASK, jobs, settings=settings, seed=SEED)
    none = train(
        lora_model, TASK, jobs, settings=settings, seed=SEED, how=FedProx(mu=0)
    )
    for one, other, same in zip(near, free, none, strict=True):
        moved = (a.adapter.flat - jobs[0].start.flat for a in (one, other))
        assert next(moved).norm() < 0.95 * next(moved).norm()
        assert same == other


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}])
def test_dp_sgd_equals_a_loop_over_samples(lora):
    lora_model = lora_model_of(**lora)
    settings = TrainingSettings(learning_rate=0.1, optim="sgd")
    how, parts = DPSGD(max_norm=0.4, noise_multiplier=0.7), lora_model.layout.parts
    sizes = []

    def alone(job):
        values, batches = job.start.flat.clone(), draws(job, poisson)
        noise = torch_stream(SEED, "noise", job.client_id, job.start_index)
        for _ in range(job.steps):
            samples = next(batches)
            sizes.append(len(samples))
            total = torch.zeros_like(values)
            for sample in samples:
                own = torch.nn.Parameter(values.clone())
                own.grad = gradient(lora_model, values, np.array([sample]))
                assert own.grad.norm() > 0.4  # the bound binds
                torch.nn.utils.clip_grad_norm_([own], 0.4)
                total += own.grad
            drawn = [
                torch.randn(part.shape, dtype=torch.float64, generator=noise)
                for part in parts
            ]
            total += 0.7 * 0.4 * torch.cat([one.flatten() for one in drawn])
            values -= 0.1 * total / 4
        return values

    outcomes = assert_equal(lora_model, jobs_of(lora_model), settings, how, alone)
    assert len(set(sizes)) > 1
    assert all(one.loss is None for one in outcomes)  # it would leave the client


def test_the_noise_of_a_smaller_rank_stays_in_its_own_columns():
    """A client of rank 1 beside others trains what it trains alone."""
    lora_model = lora_model_of(r=4)
    settings = TrainingSettings(learning_rate=0.1, optim="sgd")
    options = {"settings": settings, "seed": SEED}
    options["how"] = DPSGD(max_norm=0.4, noise_multiplier=5.0)
    small = jobs_of(lora_model, steps=(3,), sketch=own_rank(1, 4))
    beside = [*small, *jobs_of(lora_model)[1:]]
    alone = train(lora_model, TASK, small, **options)[0].adapter
    together = train(lora_model, TASK, beside, **options)[0].adapter
    torch.testing.assert_close(together.flat, alone.flat, rtol=0, atol=1e-12)


def test_poisson_takes_each_sample_with_one_probability():
    batches = poisson(np.arange(50), 10, np.random.default_rng(0))
    drawn = [next(batches) for _ in range(2000)]
    counts = np.bincount(np.concatenate(drawn), minlength=50)
    assert abs(counts / 2000 - 0.2).max() < 4.5 * np.sqrt(0.2 * 0.8 / 2000)
    assert np.var([len(one) for one in drawn]) == pytest.approx(8, rel=0.15)
    assert len(next(poisson(np.arange(5), 10, np.random.default_rng(0)))) == 5


def test_scaffold_equals_the_papers_loop_over_three_rounds():
    """Of three clients with unequal data two take part in each round."""
    settings = TrainingSettings(
        learning_rate=0.05, optim="sgd", per_device_train_batch_size=4
    )
    fed = federation(local_training=Scaffold(), training=settings)
    plain = LoraModel(
        TINY.load(TASK),
        LoraSettings(r=2, lora_alpha=6.0),
        seed=SEED,
        precision="float64",
    )
    model, shares = plain.read().flat, np.array(fed.num_samples) / sum(fed.num_samples)
    control, own = torch.zeros_like(model), [torch.zeros_like(model)] * 3
    version = fed.initial_version
    for index, clients in enumerate([(0, 1), (1, 2), (0, 2)]):
        jobs = [submit(fed, one, version, index) for one in clients]
        version = fed.merge(version, [Arrival(job, 0.5) for job in jobs]).version
        ends, changes = [], []
        for client in clients:
            rng = stream(SEED, "batch", client, index)
            batches = mini_batches(fed._shares[client], 4, rng)
            local = model.clone()
            for _ in range(3):
                found = gradient(plain, local, next(batches))
                local -= 0.05 * (found - own[client] + control)
            new = own[client] - control + (model - local) / (3 * 0.05)
            changes.append(shares[client] * (new - own[client]))
            own[client] = new
            ends.append(local)
        model, control = sum(ends) / 2, control + sum(changes)
    found = fed._versions.model(version)
    torch.testing.assert_close(found.adapter.flat, model, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.shared, control, rtol=0, atol=1e-10)
    assert control.norm() > 0


def test_what_a_client_keeps_takes_its_own_room_alone():
    settings, lora_model = TrainingSettings(optim="sgd"), lora_model_of()
    jobs, options = jobs_of(lora_model), {"settings": settings, "seed": SEED}
    for one in train(lora_model, TASK, jobs, how=Scaffold(), **options):
        for row in (one.kept, one.sent):
            assert row.untyped_storage().nbytes() == row.nbytes


def test_scaffold_counts_its_second_payload_both_ways():
    def bits(shares):
        traffic = Traffic(
            method=FedIT(),
            shapes=[Shape(8, 6), Shape(4, 6)],
            rest=Extent(50, 2, 11),
            payload=Payload(),
            rank=2,
            shares=shares,
        )
        return traffic.bits_up(2, 0), traffic.besides(0)

    (up, none), (both, besides) = bits(False), bits(True)
    assert (none, besides) == (0, 32 * (2 * (8 + 6) + 2 * (4 + 6) + 50))
    assert both == up + besides == 2 * up


def test_values_may_be_replaced_as_a_whole():
    class Doubled:
        demands = PLAIN

        def train(self, cohort):
            cohort.values = 2 * cohort.values

    lora_model = lora_model_of()
    jobs, options = jobs_of(lora_model), {"settings": TrainingSettings(), "seed": SEED}
    for job, one in zip(
        jobs, train(lora_model, TASK, jobs, how=Doubled(), **options), strict=True
    ):
        assert torch.equal(one.adapter.flat, 2 * job.start.flat)


def head(fed, version):
    return fed._versions.model(version).adapter.rest()


def test_dp_fedit_is_fedit_without_clipping_and_private_in_the_head_with_noise():
    def merged(how):
        fed = federation(local_training=how)
        jobs = [submit(fed, client, fed.initial_version) for client in range(2)]
        made = fed.merge(fed.initial_version, [Arrival(job, 0.5) for job in jobs])
        return made, fed.adapter_digest(made.version), head(fed, made.version)

    plain, digest, own = merged(Plain())
    loose, same, _ = merged(DPSGD())
    clipped, other, without = merged(DPSGD(max_norm=0.5))
    noisy, _, shaken = merged(DPSGD(max_norm=0.5, noise_multiplier=5.0))
    assert same == digest != other
    assert plain.losses == loose.losses
    assert noisy.losses == clipped.losses == (None, None)
    for name, tensor in own.items():
        assert not torch.equal(tensor, without[name])
        assert (shaken[name] - without[name]).norm() > 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs training.optim sgd, got adamw"),
        ({"aggregation": "fedsa-lora"}, "the client's own factors"),
        ({"aggregation": "rolora"}, "would be sent with the other factor"),
        ({"aggregation": "thin-svd"}, "in the old ones"),
        ({"compression": "top-k"}, "error memory of the compression"),
        ({"payload": Payload(precision="int8")}, "not tensors to scale"),
    ],
)
def test_what_scaffold_cannot_is_refused_by_name(settings, message):
    from fl.aggregation import AGGREGATIONS, COMPRESSIONS

    lists = {"aggregation": AGGREGATIONS, "compression": COMPRESSIONS}
    made = {k: lists[k][v]() if k in lists else v for k, v in settings.items()}
    optim = "sgd" if settings else "adamw"
    chosen = {"aggregation": FedIT(), "partition": IID(), **made}
    learning = FederationSettings(
        local_training=Scaffold(), training=TrainingSettings(optim=optim), **chosen
    )
    assert any(message in reason for _, reason in conflicts(learning))

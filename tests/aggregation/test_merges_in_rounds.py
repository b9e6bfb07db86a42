"""Aggregation methods at work: what is trained, what travels, what stays, what folds.

Traffic is checked against formulas written out here, for every method; the model
against ``W0 + s sum w_i B_i A_i`` of the very adapters that were merged.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fl.aggregation import AGGREGATIONS, COMPRESSIONS, FedIT, FedSALora, FedSB
from fl.aggregation.server_optimiser import MomentumServer
from fl.contract import Arrival, Job
from fl.federation.trainer import Trainer
from fl.model.payload import Payload
from fl.peft_folders import apply_base_delta
from fl.streams import stream
from fl.tasks import Digits
from fl.training.core import fixed_basis
from fl.training.local_training import mini_batches
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from tests.support.methods import (
    SEED,
    SMALL,
    STEPS,
    TARGETS,
    TINY,
    R,
    federation,
    play_round,
    run,
)

pytestmark = pytest.mark.slow

EXACT = (
    "fed-sb",
    "fedex-lora",
    "fedsvd",
    "ffa-lora",
    "flora-stacking",
    "full-average",
    "rolora",
)
WEIGHTS = {
    "unequal": (0.5, 0.3, 0.2),
    "inverse-probability": (0.9, 0.4, 0.6),  # the version before weighs -0.9
}


def model_change(version):
    """Return what a version adds to each frozen matrix, over the LoRA scale."""
    folds = version.folds()
    return {
        name: lora_b @ lora_a + folds.get(name, 0)
        for name, (lora_b, lora_a) in version.adapter.pairs().items()
    }


def fold_of(version):
    folds = version.folds()
    return {name: folds.get(name, 0) for name in version.adapter.layout.modules}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("kind", EXACT)
def test_exact_methods_leave_the_ideal_model_round_after_round(kind, weights):
    fed = federation(AGGREGATIONS[kind]())
    name = fed.initial_version
    for round_id in (1, 2, 3):
        before = fed._versions.model(name)
        name, received = play_round(fed, name, round_id, weights)
        after = model_change(fed._versions.model(name))
        old = 1 - sum(weights)
        for module, (lora_b, lora_a) in before.adapter.pairs().items():
            ideal = old * (lora_b @ lora_a) + fold_of(before)[module]
            for weight, adapter in zip(weights, received, strict=True):
                own_b, own_a = adapter.pairs()[module]
                ideal = ideal + weight * (own_b @ own_a)
            torch.testing.assert_close(after[module], ideal, rtol=0, atol=1e-12)
            assert ideal.abs().max() > 1e-6


@pytest.mark.parametrize("kind", EXACT)
def test_exact_methods_on_the_same_updates_agree_with_each_other(kind):
    # In the first round all that train both factors train the same ones.
    def scores(aggregation):
        fed = federation(aggregation)
        version, _ = play_round(fed, fed.initial_version, 1, (0.5, 0.3, 0.2))
        return fed.evaluate(version)

    trains = AGGREGATIONS[kind]().exchange(0).trains
    rivals = [k for k in EXACT if AGGREGATIONS[k]().exchange(0).trains == trains]
    losses = [scores(AGGREGATIONS[rival]()).loss for rival in rivals]
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-9)


def test_clients_train_on_the_folded_base():
    """The second round of a restarting method is a plain first round on a base to
    which the first round's fold was added by hand."""
    fed = federation(AGGREGATIONS["full-average"]())
    second, _ = play_round(fed, fed.initial_version, 1, (0.5, 0.3, 0.2))
    version = fed._versions.model(second)
    _, received = play_round(fed, second, 2, (0.5, 0.3, 0.2))
    wanted = trained_by_hand(fed, version, client_id=1, start_index=1)
    torch.testing.assert_close(received[1].flat, wanted, rtol=0, atol=1e-12)


def trained_by_hand(fed, version, *, client_id, start_index):
    """Return PEFT's own training from a version, its fold added to fresh weights."""
    from peft import LoraConfig, get_peft_model

    base = TINY.load(Digits())
    config = LoraConfig(
        r=R,
        lora_alpha=6,
        target_modules=list(TARGETS),
        modules_to_save=["classifier"],
    )
    model = get_peft_model(base, config).double().eval()
    for name, module in model.named_modules():
        short = name.removeprefix("base_model.model.")
        if short in version.folds():
            module.base_layer.weight.data += 6 / R * version.folds()[short]
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter, part in zip(parameters, version.adapter.layout.parts, strict=True):
        parameter.data = version.adapter.tensors()[part.name].clone()
    optimiser = torch.optim.SGD(parameters, lr=0.05)
    batches = mini_batches(
        fed._shares[client_id], 16, stream(SEED, "batch", client_id, start_index)
    )
    for _ in range(STEPS):
        batch = Digits().batch("train", next(batches))
        pixels = batch["pixel_values"].double()
        optimiser.zero_grad()
        model(pixel_values=pixels, labels=batch["labels"]).loss.backward()
        optimiser.step()
    return torch.cat([p.detach().flatten() for p in parameters])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_fold_leaves_no_trace_in_the_base_of_another_version():
    fed = federation(AGGREGATIONS["full-average"]())
    first = fed.initial_version
    before = fed.evaluate(first)
    second, _ = play_round(fed, first, 1, (0.5, 0.3, 0.2))
    assert fed.evaluate(second).loss != before.loss
    fresh = federation(AGGREGATIONS["full-average"]())
    lora_model = fed._model.as_version(fed._versions.model(first))
    ours = [p for n, p in lora_model.model.named_parameters()]
    theirs = [
        p
        for n, p in fresh._model.as_version(
            fresh._versions.model(first)
        ).model.named_parameters()
    ]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_one_factor_rests_while_the_other_is_trained():
    fed = federation(AGGREGATIONS["rolora"]())
    name = fed.initial_version
    for round_id, moving in ((1, "B"), (2, "A"), (3, "B")):
        before = fed._versions.model(name).adapter
        name, received = play_round(fed, name, round_id, (0.5, 0.3, 0.2))
        moved = {
            part.factor
            for adapter in received
            for part in adapter.layout.parts
            if not torch.equal(
                adapter.tensors()[part.name], before.tensors()[part.name]
            )
        }
        assert moved == {moving, None}  # and the head


def test_a_core_is_trained_between_fixed_matrices():
    """Fed-SB's client against autograd on ``W0 + s B0 R A``, written out."""
    fed = federation(FedSB())
    first = fed.initial_version
    second, _ = play_round(fed, first, 1, (0.5, 0.3, 0.2))
    start, lora_model = (
        fed._versions.model(second).adapter,
        fed._model.as_version(fed._versions.model(second)),
    )
    _, received = play_round(fed, second, 2, (0.5, 0.3, 0.2))
    layout = lora_model.layout
    bases = {
        part.name: fixed_basis(SEED, part.module, part.shape)
        for part in layout.parts
        if part.factor == "B"
    }
    leaves = {
        part.name: bases[part.name].T @ start.tensors()[part.name]
        if part.factor == "B"
        else start.tensors()[part.name].clone()
        for part in layout.parts
        if part.factor != "A"
    }
    for leaf in leaves.values():
        leaf.requires_grad_()
    batches = mini_batches(fed._shares[2], 16, stream(SEED, "batch", 2, 1))
    names = {
        part.name: name
        for part, (name, p) in zip(
            layout.parts,
            [(n, p) for n, p in lora_model.model.named_parameters() if p.requires_grad],
            strict=True,
        )
    }
    for _ in range(STEPS):
        own = {
            names[n]: bases[n] @ leaf if n in bases else leaf
            for n, leaf in leaves.items()
        }
        batch = Digits().batch("train", next(batches))
        inputs = {
            "pixel_values": batch["pixel_values"].double(),
            "labels": batch["labels"],
        }
        loss = torch.func.functional_call(lora_model.model, own, kwargs=inputs).loss
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        with torch.no_grad():
            for leaf, gradient in zip(leaves.values(), gradients, strict=True):
                leaf -= 0.05 * gradient
    tensors = received[2].tensors()
    for name, leaf in leaves.items():
        wanted = bases[name] @ leaf if name in bases else leaf
        torch.testing.assert_close(tensors[name], wanted.detach(), rtol=0, atol=1e-12)
    moved = (tensors[next(iter(bases))] - start.tensors()[next(iter(bases))]).abs()
    assert moved.max() > 1e-6


def test_a_client_of_fedsa_goes_on_with_its_own_b_and_head():
    fed = federation(FedSALora())
    name = fed.initial_version
    name, first = play_round(fed, name, 1, (0.5, 0.3, 0.2))
    shared = fed._versions.model(name).adapter
    job = Job(client_id=1, start_index=1, round_id=2, version=name, steps=STEPS, rank=R)
    fed.submit(job)
    (cohort,) = fed._book.cohorts(list(fed._book.pending))
    chunk = fed._runner.chunk(cohort)
    start = Trainer(fed._model)._start(chunk.jobs[0], chunk)
    for part in start.layout.parts:
        source = shared if part.factor == "A" else first[1]
        assert torch.equal(start.tensors()[part.name], source.tensors()[part.name])
    means = fed._versions.model(name).adapter.pairs()
    for module, (_, lora_a) in means.items():
        mean = sum(
            w * adapter.pairs()[module][1]
            for w, adapter in zip((0.5, 0.3, 0.2), first, strict=True)
        )
        torch.testing.assert_close(lora_a, mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "kept", [(FedSALora(), None), (FedIT(), COMPRESSIONS["top-k"](share=0.25))]
)
def test_who_starts_again_from_the_first_version_keeps_nothing(kept):
    """As after pilots: what came before the first version is not gone on with."""
    aggregation, compression = kept
    fed = federation(aggregation, compression=compression)
    first = fed.initial_version
    play_round(fed, first, 1, (0.5, 0.3, 0.2))
    assert fed._runner.state(0) is not None
    job = Job(client_id=0, start_index=1, round_id=2, version=first, steps=1, rank=R)
    unsoiled = federation(aggregation, compression=compression)
    again = fed.submit(job)
    assert again == unsoiled.submit(job)
    leg = fed.merge(first, [Arrival(again, 1.0)]).version
    later = Job(client_id=1, start_index=1, round_id=3, version=leg, steps=1, rank=R)
    assert leg == unsoiled.merge(first, [Arrival(again, 1.0)]).version
    assert fed.submit(later) == unsoiled.submit(later)
    assert fed._runner.state(0) == again


def test_error_feedback_sends_later_what_it_kept_back():
    """Over two rounds, what arrived and what is kept back add up to all changes."""
    top = COMPRESSIONS["top-k"](share=0.25)
    fed = federation(FedIT(), compression=top)
    name = fed.initial_version
    total = dict.fromkeys(range(3), 0.0)
    arrived = dict(total)
    for round_id in (1, 2):
        start = fed._versions.model(name).adapter
        plain = federation(FedIT())
        plain._versions.note(name, fed._versions.model(name))
        plain._versions._needed.add(name)
        name_before = name
        name, received = play_round(fed, name, round_id, (0.5, 0.3, 0.2))
        plain._versions._entries[name_before] = fed._versions.model(name).entry((), {})
        _, whole = play_round(plain, name_before, round_id, (0.5, 0.3, 0.2))
        for client in range(3):
            total[client] = total[client] + whole[client].flat - start.flat
            change = received[client].flat - start.flat
            assert int((change != 0).sum()) <= top.num_kept(len(change))
            arrived[client] = arrived[client] + change
    for client in range(3):
        kept = torch.from_numpy(fed._runner._kept[fed._runner.state(client)])
        torch.testing.assert_close(
            arrived[client] + kept, total[client], rtol=0, atol=1e-12
        )


def test_momentum_steps_along_the_mean_change():
    fed = federation(FedIT(), server_optimiser=MomentumServer(momentum=0.5))
    plain = federation(FedIT())
    names = [fed.initial_version]
    changes = []
    for round_id in (1, 2):
        start = fed._versions.model(names[-1]).adapter
        name, received = play_round(fed, names[-1], round_id, (0.5, 0.3, 0.2))
        mean = sum(w * a.flat for w, a in zip((0.5, 0.3, 0.2), received, strict=True))
        changes.append(mean - start.flat + 0.5 * (changes[-1] if changes else 0))
        wanted = start.flat + changes[-1]
        torch.testing.assert_close(
            fed._versions.model(name).adapter.flat, wanted, rtol=0, atol=1e-12
        )
        names.append(name)
    first, _ = play_round(plain, plain.initial_version, 1, (0.5, 0.3, 0.2))
    assert first != names[1]  # the step is a part of what a version is


def test_truncated_clients_are_of_their_own_rank():
    fed = federation(AGGREGATIONS["flexlora"](), low_rank="truncated")
    name = fed.initial_version
    for round_id in (1, 2):
        before = fed._versions.model(name).adapter
        name, received = play_round(fed, name, round_id, (0.5, 0.3, 0.2), rank=2)
        assert {adapter.layout.rank for adapter in received} == {2}
        assert fed._versions.model(name).adapter.layout.rank == R
    # no client has anything beyond the first two directions of what it was sent
    for module, (lora_b, lora_a) in fed._versions.model(name).adapter.pairs().items():
        ideal = sum(
            w * a.pairs()[module][0] @ a.pairs()[module][1]
            for w, a in zip((0.5, 0.3, 0.2), received, strict=True)
        )
        best = torch.linalg.svdvals(ideal)[R:].norm()
        miss = (lora_b @ lora_a - ideal).norm()
        assert float(miss) == pytest.approx(float(best), abs=1e-12)
    assert before.layout.rank == R


def test_ranks_of_a_round_may_exceed_those_of_the_clients(tmp_path):
    """FLoRIST at full energy keeps all directions: more than a client can train."""
    fed = federation(AGGREGATIONS["florist"](energy=1.0))
    name, received = play_round(fed, fed.initial_version, 1, (0.5, 0.3, 0.2))
    version = fed._versions.model(name)
    widths = {len(lora_a) for _, lora_a in version.adapter.pairs().values()}
    assert max(widths) > R
    after = model_change(version)
    for module, change in after.items():
        ideal = sum(
            w * a.pairs()[module][0] @ a.pairs()[module][1]
            for w, a in zip((0.5, 0.3, 0.2), received, strict=True)
        )
        torch.testing.assert_close(change, ideal, rtol=0, atol=1e-9)
    whole = federation(AGGREGATIONS["full-average"]())
    other, _ = play_round(whole, whole.initial_version, 1, (0.5, 0.3, 0.2))
    assert fed.evaluate(name).loss == pytest.approx(whole.evaluate(other).loss)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("kind", ["fedex-lora", "flora-stacking", "florist"])
def test_peft_reads_what_a_version_was_written_as(kind, tmp_path):
    """Base, folds and adapter from the files alone give the evaluated model."""
    from peft import PeftModel

    settings = {"energy": 1.0} if kind == "florist" else {}
    fed = federation(AGGREGATIONS[kind](**settings), precision="float32")
    name = fed.initial_version
    for round_id in (1, 2):
        name, _ = play_round(fed, name, round_id, (0.5, 0.3, 0.2))
    fed.export(name, tmp_path)
    base = TINY.load(Digits())
    apply_base_delta(base, tmp_path)
    assert (tmp_path / "base_delta.safetensors").exists() == (kind != "florist")
    model = PeftModel.from_pretrained(base, tmp_path).eval()
    batch = Digits().batch("test", np.arange(20))
    ours = fed._model.as_version(fed._versions.model(name)).model(**batch).logits
    torch.testing.assert_close(model(**batch).logits, ours, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fedsa-lora", "full-average", "fed-sb"])
def test_workers_leave_the_same_numbers(kind):
    def digest(workers):
        fed = federation(
            AGGREGATIONS[kind](), workers=workers, precision="float32", cohort_size=2
        )
        name = fed.initial_version
        try:
            for round_id in (1, 2):
                name, _ = play_round(fed, name, round_id, (0.5, 0.3, 0.2))
            return fed.adapter_digest(name)
        finally:
            fed.close()

    assert digest(1) == digest(2)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("kind", ["ffa-lora", "rolora", "fedsvd", "fedsa-lora"])
def test_rounding_leaves_the_resting_factor_alone(kind, precision):
    fed = federation(AGGREGATIONS[kind](), payload=Payload(precision=precision))
    name = fed.initial_version
    for round_id in (1, 2, 3):
        name, _ = play_round(fed, name, round_id, (0.9, 0.4, 0.6))  # none is refused


@pytest.mark.parametrize("kind", ["ffa-lora", "fedsvd"])
def test_the_first_version_is_as_its_clients_receive_it(kind):
    payload = Payload(precision="int8")
    fed = federation(AGGREGATIONS[kind](), payload=payload)
    plain = federation(AGGREGATIONS[kind]())
    assert fed.initial_version != plain.initial_version
    received = fed.learning.exchange(1).receives
    first, exact = (
        one._versions.model(one.initial_version).adapter for one in (fed, plain)
    )
    for part in first.layout.parts:
        own, given = (one.tensors()[part.name] for one in (first, exact))
        is_sent = part.factor is None or part.factor in received
        assert torch.equal(own, payload.rounded(given) if is_sent else given)


@dataclass(frozen=True)
class Model:
    """The numbers that the scenario below moves."""

    shapes = ((64, 64),) * 3 + ((128, 64),) * 3
    head = 64 * 10 + 10
    rank = 4

    def lora(self, rank=rank):
        return sum(rank * (m + n) for m, n in self.shapes)

    def b(self):
        return sum(self.rank * m for m, _ in self.shapes)

    def a(self):
        return sum(self.rank * n for _, n in self.shapes)

    def core(self):
        return len(self.shapes) * self.rank**2

    def fold(self, rank):
        return sum(min(m * n, rank * (m + n)) for m, n in self.shapes)

    def dense(self):
        return sum(m * n for m, n in self.shapes)


M, U = Model(), 3
# Numbers up, and down with the first version and with each later one; all three
# clients take part in every round, so that nobody misses a version.
TABLE = {
    "fed-sb": (M.core(), M.core(), M.core()),
    "fedex-lora": (M.lora(), M.lora(), M.lora() + M.fold((U - 1) * M.rank)),
    "fedit": (M.lora(), M.lora(), M.lora()),
    "fedsa-lora": (M.a(), M.a(), M.a()),
    "fedsvd": (M.b(), M.lora(), M.lora()),
    "ffa-lora": (M.b(), M.b(), M.b()),
    "flexlora": (M.lora(), M.lora(), M.lora()),
    "flora-na": (M.lora(), M.lora(), M.lora()),
    "flora-na-adam": (M.lora(), M.lora(), M.lora()),
    "flora-stacking": (M.lora(), 0, M.fold(U * M.rank)),
    "free-als": (M.lora(), M.lora(), M.lora()),
    "fslora": (M.lora(), M.lora(), M.lora()),
    "full-average": (M.lora(), 0, M.dense() + M.a()),  # and the restarted A
    "hetlora": (M.lora(), M.lora(), M.lora()),
    "lora-fair": (M.lora(), M.lora(), M.lora()),
    "thin-svd": (M.lora(), M.lora(), M.lora()),
}
UNICAST = (
    "cell.downlink={band: 10 MHz, radio: {kind: per-hertz, reference_band: 10 MHz, "
    "gap: 3 dB}, mode: unicast, sharing: processor-sharing}"
)


def test_the_table_of_traffic_is_complete():
    assert {*TABLE, "florist", "residual", "rolora"} == set(AGGREGATIONS)


@pytest.mark.parametrize("kind", TABLE)
def test_bits_in_the_trace_are_those_of_the_table(kind, tmp_path):
    up, first, later = TABLE[kind]
    head = 0 if kind == "fedsa-lora" else M.head
    tasks = run(tmp_path, f"learning.aggregation={kind}").tasks
    assert set(tasks.upload_bits) == {32 * (up + head)}
    by_round = tasks.groupby("round_id").download_bits.unique().tolist()
    assert [bits.tolist() for bits in by_round] == [
        [32 * (first + head)],
        [32 * (later + head)],
        [32 * (later + head)],
    ]


def test_one_factor_travels_at_a_time_in_rolora(tmp_path):
    tasks = run(tmp_path, "learning.aggregation=rolora").tasks
    up = tasks.groupby("round_id").upload_bits.unique()
    assert up.tolist() == [[32 * (n + M.head)] for n in (M.b(), M.a(), M.b())]
    down = tasks.groupby("round_id").download_bits.unique()
    # what the round before has changed
    assert down.tolist() == [[32 * (n + M.head)] for n in (M.b(), M.b(), M.a())]


def test_training_begins_with_b_after_a_pilot_of_any_length(tmp_path):
    policy = (
        "policy={kind: proportional, to: statistics, num_expected: 3, "
        "pilots: [{probability: 1, rounds: 1}]}"
    )
    rolora = "learning.aggregation=rolora"
    tasks = run(tmp_path, rolora, policy, "server.sampling=null", "stop.rounds=2").tasks
    up = tasks.groupby("round_id").upload_bits.unique()
    assert up.tolist() == [[32 * (n + M.head)] for n in (M.b(), M.b(), M.a())]
    down = tasks.groupby("round_id").download_bits.unique()
    assert down.tolist() == [[32 * (n + M.head)] for n in (M.b(), M.b(), M.b())]


def test_florist_sends_the_rank_that_holds_the_energy(tmp_path):
    found = run(tmp_path, "learning.aggregation={kind: florist, energy: 0.5}")
    (last,) = found.tasks[found.tasks.round_id == 3].download_bits.unique()
    ranks = (last / 32 - M.head) / (M.lora() / M.rank)
    assert 1 <= ranks < M.rank


@pytest.mark.parametrize("count", [0, 2, 1000])
def test_the_residual_costs_what_it_sends(count, tmp_path):
    directions = f"{{kind: count, num_directions: {count}}}"
    kind = f"{{kind: residual, directions: {directions}}}"
    tasks = run(tmp_path, f"learning.aggregation={kind}").tasks
    (last,) = tasks[tasks.round_id == 3].download_bits.unique()
    most = (U - 1) * M.rank  # of the gap of a rank-r projection
    fold = 0 if not count else M.fold(min(count, most))
    assert last <= 32 * (M.lora() + M.head + fold)
    assert (last == 32 * (M.lora() + M.head + fold)) or count == 1000
    assert (last > 32 * (M.lora() + M.head)) == (count > 0)


def test_who_missed_rounds_catches_up_on_every_fold(tmp_path):
    overrides = (
        "learning.aggregation=fedex-lora",
        "server.sampling={kind: uniform, num_drawn: 1}",
        UNICAST,
        "stop.rounds=6",
    )
    found = run(tmp_path, *overrides)
    tasks = found.tasks.sort_values("round_id")
    num_components = found.merges.groupby("round_id").num_components.first()
    seen = {}
    for task in tasks.itertuples():
        missed = range(seen.get(task.client_id, 0) + 1, task.round_id)
        # version v was made in round v; its fold has rank (U - 1) r, unless nothing
        # was missed by averaging: with one component, or before A has moved
        folds = sum((num_components[v] - 1) * M.rank for v in missed if v > 1)
        most = M.lora() + M.head + M.fold(folds + M.rank)
        assert task.download_bits <= 32 * most
        if folds:
            assert task.download_bits >= 32 * (M.lora() + M.head + M.fold(folds))
        seen[task.client_id] = task.round_id - 1
    assert tasks.download_bits.nunique() > 2


def test_truncated_clients_pay_for_their_rank(tmp_path):
    overrides = (
        "learning.aggregation=flexlora",
        "ranks={kind: tiered, tiers: [{device: jetson-nano, rank: 1}]}",
        UNICAST,
    )
    tasks = run(tmp_path, *overrides).tasks
    assert set(tasks["rank"]) == {1, 4}
    for rank, rows in tasks.groupby("rank"):
        assert set(rows.upload_bits) == {32 * (M.lora(rank) + M.head)}
        assert set(rows.download_bits) == {32 * (M.lora(rank) + M.head)}
    # a broadcast carries the longest prefix once
    tasks = run(tmp_path / "b", *overrides[:2]).tasks
    assert set(tasks.download_bits) == {32 * (M.lora() + M.head)}


@pytest.mark.parametrize("kind", ["quantised", "top-k"])
def test_compressed_uploads_are_counted(kind, tmp_path):
    tasks = run(tmp_path, f"learning.compression={kind}").tasks
    numbers = M.lora() + M.head
    bits = {
        "quantised": numbers * 8 + -(-numbers // 256) * 32,
        "top-k": round(0.1 * numbers) * (32 + 13),  # places of up to 2^13 numbers
    }
    assert 2**12 < numbers <= 2**13
    assert set(tasks.upload_bits) == {bits[kind]}
    assert set(tasks.download_bits) == {32 * numbers}


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("learning.aggregation=fedsa-lora",),
        ("learning.compression=top-k",),
        ("learning.aggregation=fedex-lora",),
        ("learning.server_optimiser={kind: adam, learning_rate: 0.05}",),
    ],
)
def test_a_resumed_run_ends_with_the_same_digest(overrides, tmp_path):
    config = read_scenario(find_scenario("quickstart"), (*SMALL, *overrides))
    short = read_scenario(
        find_scenario("quickstart"), (*SMALL, *overrides, "stop.rounds=2")
    )
    fresh = run_scenario(config, tmp_path / "fresh", reuse=False)
    run_scenario(short, tmp_path / "short")  # leaves its learning in the store
    resumed = run_scenario(config, tmp_path / "resumed")
    assert resumed.steps_reused > 0
    assert resumed.digest == fresh.digest
    again = run_scenario(config, tmp_path / "again")
    assert (again.steps_trained, again.digest) == (0, fresh.digest)


REFUSED = {
    "a fold under asynchrony": (
        "fedex-lora",
        "server={kind: buffered, concurrency: 2, buffer_size: 2, merge_time: 0 s}",
        "server: .*asynchrony.*frozen base",
    ),
    "norm weights under coins": (
        "hetlora",
        "server.sampling={kind: independent, probability: 0.5}",
        "server.sampling: .*norm weights",
    ),
    "ranks of their own": (
        "flora-na",
        "ranks={kind: fixed, rank: 2}\x00learning.low_rank=truncated",
        "ranks: .*unequal-ranks",
    ),
    "a sketched core": ("fed-sb", "ranks={kind: fixed, rank: 2}", "ranks: .*core"),
    "secure sums": (
        "flora-na",
        "learning.secure_aggregation=true",
        "learning.secure_aggregation: .*each client's factors",
    ),
    "momentum in new coordinates": (
        "thin-svd",
        "learning.server_optimiser=momentum",
        "learning.server_optimiser: .*new gauge",
    ),
    "rounded folds": (
        "fedex-lora",
        "learning.payload.precision=int8",
        "learning.payload.precision: .*float32",
    ),
    "folds under DoRA": (
        "fedex-lora",
        "learning.lora={use_dora: true}",
        "learning.aggregation: .*DoRA",
    ),
    "one factor of HiRA": (
        "ffa-lora",
        "learning.lora={peft_type: hira}",
        "learning.aggregation: .*HiRA",
    ),
    "a memory of the other rank units": (
        "fedit",
        "ranks={kind: fixed, rank: 2}\x00learning.compression=top-k",
        "ranks: .*kept back",
    ),
    "hadamard of six": (
        "{kind: thin-svd, gauge: hadamard}",
        "learning.lora={r: 6, lora_alpha: 6}",
        "learning.aggregation.gauge: .*power of two",
    ),
}


@pytest.mark.parametrize(("kind", "override", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_method_cannot_do_is_refused_when_checked(kind, override, message):
    overrides = [f"learning.aggregation={kind}", *override.split("\x00")]
    if "buffered" in override:
        overrides += [
            "cell.uplink.sharing=processor-sharing",
            UNICAST,
        ]
    with pytest.raises(InputError, match=message):
        read_scenario(find_scenario("quickstart"), tuple(overrides))


def test_secure_sums_are_enough_for_averages():
    overrides = ("learning.aggregation=fedit", "learning.secure_aggregation=true")
    assert read_scenario(find_scenario("quickstart"), overrides)

"""What surrounds a merge: server optimisers, upload compression, DoRA and HiRA."""

import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fl.aggregation import FedIT, FloraNA, FloraStacking, LayerComponents, Pair
from fl.aggregation.compression import COMPRESSIONS, Delivery, Quantised, TopK
from fl.aggregation.dora import merged_magnitudes
from fl.aggregation.hira import masked_error
from fl.aggregation.server_optimiser import (
    SERVER_OPTIMISERS,
    AdamServer,
    Moments,
    MomentumServer,
    PlainServer,
)
from fl.federation.merging import Component, merge_adapters
from fl.model.adapters import Adapter, Layout, Part
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario


def vector(seed, size=1000):
    return torch.tensor(np.random.default_rng(seed).normal(size=size))


def path_of(optimiser, changes):
    """Return where a server goes whose merges lie these changes ahead of it."""
    here, memory = torch.zeros(1, dtype=torch.float64), Moments()
    places = []
    for change in changes:
        here, memory = optimiser.step(here, here + change, memory)
        places.append(float(here))
    return places


def test_a_plain_server_takes_the_merge_bit_for_bit():
    before, merged = vector(1), vector(2)
    after, memory = PlainServer().step(before, merged, Moments())
    assert after is merged
    assert memory.first is None
    half, _ = PlainServer(learning_rate=0.5).step(before, merged, Moments())
    torch.testing.assert_close(half, (before + merged) / 2)


def test_momentum_adds_up_a_geometric_series():
    places = path_of(MomentumServer(momentum=0.5), [1.0, 1.0, 1.0, 0.0])
    assert places == [1.0, 2.5, 4.25, 5.125]
    assert path_of(MomentumServer(momentum=0.0), [1.0, 2.0]) == [1.0, 3.0]


def test_adam_follows_its_recursion():
    optimiser = AdamServer(learning_rate=0.1, epsilon=0.01)
    changes = [1.0, -0.5, 0.25]
    first, second, here, wanted = 0.0, 0.01**2, 0.0, []
    for change in changes:
        first = 0.9 * first + 0.1 * change
        second = 0.99 * second + 0.01 * change**2
        here += 0.1 * first / (second**0.5 + 0.01)
        wanted.append(here)
    assert path_of(optimiser, changes) == pytest.approx(wanted, rel=1e-12, abs=0)


@pytest.mark.parametrize("kind", SERVER_OPTIMISERS)
def test_a_server_stays_where_no_one_trained(kind):
    optimiser = SERVER_OPTIMISERS[kind](kind=kind)
    before = vector(3)
    after, _ = optimiser.step(before, before.clone(), Moments())
    assert torch.equal(after, before)


def test_momentum_is_refused_where_a_merge_changes_coordinates():
    for gauge in ("as-is", "scale-matched", "procrustes"):
        assert "server-optimiser" not in FloraNA(gauge=gauge).contract.cannot
    for gauge in ("balanced", "hadamard"):
        (reason,) = FloraNA(gauge=gauge).contract.refusals(["server-optimiser"])
        assert "procrustes" in reason


@pytest.mark.parametrize("num_bits", [8, 4])
def test_quantising_errs_by_half_a_step_of_each_block(num_bits):
    sent, trained = vector(4), vector(4) + 0.01 * vector(5)
    trained[:300] *= 50
    method = Quantised(num_bits=num_bits, block_size=100)
    received, kept_back = method.deliver(sent, trained, None)
    assert kept_back is None
    change = (trained - sent).view(10, 100)
    steps = change.abs().amax(1, keepdim=True) / (2 ** (num_bits - 1) - 1)
    errors = (received - trained).view(10, 100).abs()
    assert (errors <= steps / 2 * (1 + 1e-9)).all()
    levels = ((received - sent).view(10, 100) / steps).round()
    assert len(levels.unique()) <= 2**num_bits - 1


def test_an_unchanged_upload_arrives_unchanged():
    sent = vector(6)
    for method in (Quantised(block_size=7), TopK()):
        assert torch.equal(method.deliver(sent, sent.clone(), None).received, sent)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        (Quantised(), 1000 * 8 + 4 * 32),  # blocks of 256
        (Quantised(num_bits=4, block_size=100), 1000 * 4 + 10 * 32),
        (TopK(share=0.1), 100 * (32 + 10)),  # 2^10 places
        (TopK(share=1.0), 1000 * (32 + 10)),
        (TopK(share=1e-9), 32 + 10),
    ],
    ids=repr,
)
def test_bits_are_counted_with_scales_and_indices(method, wanted):
    assert method.bits(1000) == wanted


def test_top_k_sends_the_largest_changes_and_later_the_rest():
    sent = vector(7, 10)
    change = torch.tensor([5.0, -4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]).double()
    method = TopK(share=0.2)
    received, kept_back = method.deliver(sent, sent + change, None)
    torch.testing.assert_close(received - sent, change * (change.abs() > 3.5))
    for _ in range(2):  # nothing new is learned; the memory is sent
        received, kept_back = method.deliver(sent, sent, kept_back)
    torch.testing.assert_close(received - sent, change * (change == 1.0))
    assert kept_back.norm() < 1e-12


def test_error_feedback_loses_nothing_over_rounds():
    method, kept_back = TopK(share=0.05), None
    sent, learned, arrived = vector(8), 0, 0
    for seed in range(20):
        change = vector(seed)
        received, kept_back = method.deliver(sent, sent + change, kept_back)
        learned, arrived = learned + change, arrived + received - sent
    torch.testing.assert_close(arrived + kept_back, learned)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_merge_of_compressed_uploads_is_near_that_of_the_originals(kind):
    method = COMPRESSIONS[kind](kind=kind)
    start = Pair(vector(9, 60).view(20, 3), vector(10, 45).view(3, 15))
    pairs, delivered = [], []
    for seed in range(4):
        pair = Pair(*(f + 0.1 * vector(seed, f.numel()).view(f.shape) for f in start))
        pairs.append(pair)
        delivered.append(
            Pair(
                *(
                    method.deliver(old.flatten(), new.flatten(), None).received.view(
                        old.shape
                    )
                    for old, new in zip(start, pair, strict=True)
                )
            )
        )
    plain, coarse = (
        FloraNA().merge({"x": LayerComponents(tuple(p), (0.25,) * 4)})["x"].pair
        for p in (pairs, delivered)
    )
    distance = (plain.lora_b @ plain.lora_a - coarse.lora_b @ coarse.lora_a).norm()
    assert distance < 0.2 * (plain.lora_b @ plain.lora_a).norm()


def test_merging_adapters_aligns_to_the_previous_one():
    parts = (Part("b", (6, 2), "x", "B"), Part("a", (2, 5), "x", "A"))
    layout = Layout(parts)
    first, second, before = (Adapter(layout, vector(s, 22)) for s in (12, 13, 14))
    components = [Component(first, 0.5), Component(second, 0.5)]
    method = FloraNA(gauge="procrustes")
    alone, *_ = merge_adapters(method, components)
    aligned, *_ = merge_adapters(method, components, before)
    (one,), (other,) = alone.pairs().values(), aligned.pairs().values()
    torch.testing.assert_close(one[0] @ one[1], other[0] @ other[1])
    distances = [(a.flat - before.flat).norm() for a in (aligned, alone)]
    assert distances[0] < distances[1]


def test_magnitudes_are_averaged_and_never_turn_a_row_around():
    one, two = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, 2.0, 1.0])
    mean = merged_magnitudes([one, two], (0.25, 0.75))
    assert mean.tolist() == [2.5, 2.0, 1.75]
    far = merged_magnitudes([one, two], (3.0, -2.0))
    assert far.tolist() == pytest.approx([0.1, 2.0, 10.0])


def test_hira_has_the_same_zero_set():
    rng = np.random.default_rng(11)
    pairs = tuple(
        Pair(
            torch.tensor(rng.normal(size=(6, 2))), torch.tensor(rng.normal(size=(2, 5)))
        )
        for _ in range(3)
    )
    layer = LayerComponents(pairs, (0.5, 0.3, 0.2))
    mask = torch.tensor(rng.normal(size=(6, 5)))
    exact = FloraStacking().merge({"x": layer})["x"]
    assert masked_error(layer, [exact.pair, exact.fold], mask) < 1e-12
    average = FedIT().merge({"x": layer})["x"].pair
    assert masked_error(layer, [average], mask) > 0.1


@pytest.mark.parametrize(
    "record",
    [
        lambda: Quantised(num_bits=5),
        lambda: TopK(share=0.0),
        lambda: MomentumServer(momentum=1.0),
        lambda: AdamServer(learning_rate=float("inf")),
    ],
)
def test_impossible_settings_are_refused(record):
    with pytest.raises(ValidationError):
        record()


def test_contracts_traffic_and_records_need_no_torch():
    code = (
        "import sys, fl.aggregation as a\n"
        "from fl.federation.traffic import Traffic\n"
        "from fl.model.payload import NOTHING, Payload\n"
        "from fl.aggregation import compression, dora, hira, server_optimiser\n"
        "for cls in a.AGGREGATIONS.values():\n"
        "    m, v = cls(), [a.VersionRanks(4, 2)]\n"
        "    m.contract.refusals(['asynchrony'])\n"
        "    t = Traffic(method=m, shapes=[a.Shape(9, 5)], rest=NOTHING,\n"
        "                payload=Payload(), rank=4)\n"
        "    t.bits_up(4, 0), t.bits_down(('A',), v, 4), t.fold_bits([2], 4)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


FIRST_DRAWS = []


class RandomHalf(Quantised):
    """Half of the numbers, drawn by chance, each of twice its change."""

    kind: ClassVar[str] = "random-half"

    def deliver(self, sent, trained, rng):
        keeps = rng.random(len(sent)) < 0.5
        FIRST_DRAWS.append(keeps[:8].tolist())
        change = 2 * (trained - sent) * torch.from_numpy(keeps).to(sent.dtype)
        return Delivery(sent + change, None)


@pytest.mark.slow
def test_a_compression_draws_from_its_clients_stream(tmp_path):
    FIRST_DRAWS.clear()
    small = (
        *("stop.rounds=1", "population.num_clients=2", "server.sampling=full"),
        *("learning.training.local_steps=1", "learning.aggregation=fedit"),
        f"learning.compression={__name__}:RandomHalf",
    )
    config = read_scenario(find_scenario("quickstart"), small)
    digests = {
        run_scenario(config, tmp_path / name, reuse=False).digest for name in "ab"
    }
    assert len(digests) == 1
    first, second, *again = FIRST_DRAWS
    assert first != second
    assert again == [first, second]

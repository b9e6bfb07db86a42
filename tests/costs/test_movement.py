"""What operations read and write, counted on models and optimisers."""

import pytest
import torch

from fl.contract import Work
from fl.costs import TimingAs, count_timing
from fl.costs.model_costs import BYTES_PER_NUMBER, OPTIMISER_STEPS, Moved
from fl.costs.movement import OperationCounter
from fl.model.adapters import LoraSettings
from fl.settings.local_training import TrainingSettings
from fl.training.optimisers import optimiser_for
from tests.support.tiny_config import write_config


@pytest.fixture
def folder(tmp_path):
    """A folder with a tiny Llama's configuration and no weights."""
    return write_config(tmp_path)


def test_products_and_other_operations_are_counted_apart():
    left, right = torch.empty(2, 3, device="meta"), torch.empty(3, 4, device="meta")
    with OperationCounter() as counter:
        product = left @ right  # 6 and 12 numbers in, 8 out
        (product.view(8) + 1).sum()  # 8 in, 8 out; 8 in, 1 out; a view moves nothing
    assert counter.flop == 2 * 2 * 3 * 4
    assert counter.moved == Moved(0, 4 * (6 + 12 + 8), 4 * (8 + 8 + 8 + 1), 3, 0, 0)


def test_products_of_16_bit_numbers_are_counted_apart():
    left, right = torch.empty(2, 3), torch.empty(3, 4)
    with OperationCounter() as counter:
        left @ right
        left.bfloat16() @ right.bfloat16()
    assert (counter.flop, counter.moved.half_flop) == (2 * 48, 48)


def test_blocks_of_16_bit_attention_and_large_results_are_counted_apart():
    queries = torch.empty(6, 65, 8, device="meta")  # of samples and heads: 3 blocks
    half = queries.bfloat16()
    with OperationCounter() as counter:
        queries @ queries.mT
        half @ half.mT
        half[0] @ half[0].mT  # no batch, no block
    assert counter.moved.blocks == 6 * 3
    large = torch.empty(2**22, device="meta")
    with OperationCounter() as counter:
        twice = torch.cat((large, large))  # 32 MiB and not above
        torch.cat((twice, large)).add_(1)
    assert counter.moved.large_bytes == 3 * 2**24


@pytest.mark.parametrize("name", OPTIMISER_STEPS)
def test_the_table_of_optimisers_is_what_a_step_moves(name):
    numbers = 100_000
    values, gradients, rates = (torch.zeros(1, n) for n in (numbers, numbers, 1))
    optimiser = optimiser_for(values, name, weight_decay=0)
    with OperationCounter() as counter:
        optimiser.step(values, gradients, rates)
    moved = counter.moved.other_bytes / (numbers * BYTES_PER_NUMBER)
    expected, operations = OPTIMISER_STEPS[name]
    assert (round(moved, 2), counter.moved.operations) == (expected, operations)


def test_work_grows_with_steps_batches_and_rank_as_it_is_done(folder):
    timing = TimingAs(model=folder, sequence_length=32)

    def work(rank=1, **settings):
        training = TrainingSettings(local_steps=1, optim="sgd", **settings)
        costs = count_timing(timing, LoraSettings(r=8), training)
        return costs.training_work(rank=rank, training=training)

    one, two, four = (work(per_device_train_batch_size=n) for n in (1, 2, 4))
    assert two.operations == one.operations
    assert four.flop == 2 * two.flop
    # weights are read once for a mini-batch, however large it is
    assert one.product_bytes < two.product_bytes < 2 * one.product_bytes
    assert four.product_bytes - two.product_bytes == 2 * (
        two.product_bytes - one.product_bytes
    )
    high = work(rank=2, per_device_train_batch_size=2)
    assert high.operations == two.operations
    assert high.product_bytes > two.product_bytes
    assert isinstance(high, Work)


def test_accumulation_repeats_a_mini_batch_and_not_the_optimiser(folder):
    timing = TimingAs(model=folder, sequence_length=32)

    def work(accumulation):
        training = TrainingSettings(
            local_steps=3,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=accumulation,
        )
        costs = count_timing(timing, LoraSettings(r=8), training)
        return costs.training_work(rank=8, training=training)

    once, twice, thrice = map(work, (1, 2, 3))
    assert once.steps == thrice.steps == 3
    for name in ("flop", "product_bytes", "other_bytes", "operations"):
        first, second, third = (getattr(w, name) for w in (once, twice, thrice))
        assert third - second == second - first > 0
    assert twice.product_bytes == 2 * once.product_bytes
    assert twice.operations - once.operations == once.operations - 3 * 11

"""Merges and compressions that ask for more than factors, by names."""

from typing import ClassVar

import pytest
import torch

from fl.aggregation import Contract, FedIT
from fl.aggregation.compression import Delivery, Quantised
from fl.aggregation.context import MergeContext, merged_by
from fl.contract import Arrival
from tests.support.federations import federation, numbers, submit

NOTES = []


def largest(tensors, weights):
    """Return the largest of each number, of all clients but the version before."""
    return torch.stack(list(tensors)).max(dim=0).values


class Curious(FedIT):
    """FedIT that notes what it is told, and takes the largest head."""

    kind: ClassVar[str] = "curious"
    contract: ClassVar = Contract(exactness="approximate", rest=largest)

    def merge(self, layers, client_ids, losses, weights, rng, context):
        NOTES.append((client_ids, losses, weights, rng.random(), context))
        return super().merge(layers)


class Noted(Quantised):
    """Quantised, and notes what it is told."""

    kind: ClassVar[str] = "noted"

    def deliver(self, sent, trained, client_id, round_id, loss):
        NOTES.append((client_id, round_id, loss))
        return Delivery(trained, None)


def merged(fed, folder):
    jobs = [submit(fed, client, fed.initial_version) for client in (2, 0)]
    made = fed.merge(fed.initial_version, [Arrival(job, 0.5) for job in jobs])
    return made, numbers(fed, made.version, folder)


def test_a_merge_is_told_of_clients_and_losses_and_decides_the_head(tmp_path):
    NOTES.clear()
    made, own = merged(federation(aggregation=Curious()), tmp_path / "own")
    again, _ = merged(federation(aggregation=Curious()), tmp_path / "again")
    (first, second) = NOTES
    assert first[:4] == second[:4]
    assert first[0] == (0, 2)
    assert first[1] == made.losses[::-1] == again.losses[::-1]
    assert first[2] == (0.5, 0.5)
    assert isinstance(first[4], MergeContext)
    plain, mean = merged(federation(), tmp_path / "plain")
    assert plain.losses == made.losses
    heads = [name for name in own if "classifier" in name]
    assert heads
    for name, tensor in own.items():
        if name in heads:
            assert (tensor >= mean[name]).all()
            assert not torch.equal(tensor, mean[name])
        else:
            assert torch.equal(tensor, mean[name])


def test_a_merge_without_a_run_is_told_of_no_client():
    NOTES.clear()
    assert merged_by(Curious(), {}) == {}
    assert NOTES[0][:3] == ((), (), ())


def test_a_compression_is_told_of_client_round_and_loss(tmp_path):
    NOTES.clear()
    made, _ = merged(federation(compression=Noted()), tmp_path / "own")
    assert [(0, 0, made.losses[1]), (2, 0, made.losses[0])] == NOTES
    assert all(loss > 0 for _, _, loss in NOTES)


def test_a_merge_that_asks_for_what_there_is_not_is_refused():
    from netsim.cosim.reading import read_scenario
    from netsim.cosim.shipped import find_scenario
    from netsim.errors import InputError

    overrides = ("learning.aggregation=tests.aggregation.test_merge_context:Misspelt",)
    with pytest.raises(InputError, match="'lossses' in merge, did you mean 'losses'"):
        read_scenario(find_scenario("quickstart"), overrides)


class Misspelt(FedIT):
    kind: ClassVar[str] = "misspelt"

    def merge(self, layers, lossses):
        return super().merge(layers)

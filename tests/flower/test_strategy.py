"""Merges of ours as strategies of Flower's, next to the merges themselves."""

import pytest
import torch

from fl.aggregation import AGGREGATIONS, LayerComponents, Pair

pytest.importorskip("flwr", reason="needs Flower, the extra `flower`")
NAME = "base_model.model.first.lora_{}.weight"
REFUSED = {
    "fed-sb": "changes what clients train",
    "fedex-lora": "folds into the base",
    "fedsa-lora": "changes what clients train",
    "fedsvd": "changes what clients train",
    "ffa-lora": "changes what clients train",
    "flora-stacking": "folds into the base",
    "florist": "rank that changes",
    "full-average": "folds into the base",
    "residual": "folds into the base",
    "rolora": "changes what clients train",
}


def replies(states, counts):
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    for node_id, (state, count) in enumerate(zip(states, counts, strict=True)):
        records = {
            "arrays": ArrayRecord(state),
            "metrics": MetricRecord({"num-examples": count, "loss": 1.0}),
        }
        asked = Message(RecordDict(), dst_node_id=node_id + 2, message_type="train")
        yield Message(RecordDict(records), reply_to=asked)


def state(seed):
    numbers = torch.Generator().manual_seed(seed)
    shapes = {NAME.format("A"): (2, 6), NAME.format("B"): (5, 2), "head.bias": (3,)}
    return {
        name: torch.randn(shape, generator=numbers) for name, shape in shapes.items()
    }


@pytest.mark.parametrize("kind", sorted(set(AGGREGATIONS) - set(REFUSED)))
def test_a_strategy_merges_pairs_as_the_method_does_and_averages_the_rest(kind):
    from fl.flower.merge_strategy import merging

    states, counts = [state(n) for n in range(3)], [1, 2, 5]
    arrays, metrics = merging(kind).aggregate_train(1, replies(states, counts))
    weights = tuple(count / 8 for count in counts)
    pairs = tuple(Pair(one[NAME.format("B")], one[NAME.format("A")]) for one in states)
    expected = AGGREGATIONS[kind]().merge({"x": LayerComponents(pairs, weights)})
    found = arrays.to_torch_state_dict()
    assert list(found) == list(states[0])
    assert torch.equal(found[NAME.format("B")], expected["x"].pair.lora_b)
    assert torch.equal(found[NAME.format("A")], expected["x"].pair.lora_a)
    parts = zip(weights, states, strict=True)
    mean = sum(weight * one["head.bias"].double() for weight, one in parts)
    assert torch.allclose(found["head.bias"].double(), mean, atol=1e-7)
    assert metrics["loss"] == pytest.approx(1.0)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_client_of_flower_does_is_refused_by_name(kind):
    from fl.flower.merge_strategy import merging

    with pytest.raises(ValueError, match=f"{kind} is no strategy.*{REFUSED[kind]}"):
        merging(kind)


def test_a_state_without_pairs_is_refused():
    from fl.flower.merge_strategy import merging

    alone = {NAME.format("B"): torch.zeros(5, 2)}
    with pytest.raises(ValueError, match="this is no plain LoRA adapter"):
        merging("fedit").aggregate_train(1, replies([alone, alone], [1, 1]))

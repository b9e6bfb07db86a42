"""A merge of LoRA adapters as a strategy of Flower's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from fl.aggregation import AGGREGATIONS, LayerComponents, Method, Pair, weighted_mean
from fl.aggregation.method import LORA

if TYPE_CHECKING:
    from torch import Tensor

A, B = ".lora_A.", ".lora_B."
State = Mapping[str, "Tensor"]


def merging(method: str | Method, **fedavg: Any) -> FedAvg:
    """Return a strategy that merges the plain state dicts of PEFT adapters by a method,
    a kind or a record of its settings; ``fedavg`` are arguments of Flower's FedAvg."""
    if isinstance(method, str):
        if method not in AGGREGATIONS:
            known = ", ".join(AGGREGATIONS)
            raise ValueError(f"no merge {method!r}; there are {known}")
        method = AGGREGATIONS[method]()
    require_plain(method)
    return MergingStrategy(method, **fedavg)


def require_plain(method: Method) -> None:
    """Refuse a method that asks of a client more than to train and to send a pair."""
    contract, exchanges = method.contract, [method.exchange(n) for n in range(2)]
    reasons = {
        "folds into the base model, which a Flower client never gets": (
            contract.is_folding
        ),
        "changes what clients train or send": any(one != LORA for one in exchanges),
        "keeps a part on each client": bool(contract.personal),
        "has a rank that changes from round to round": contract.has_own_rank,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise ValueError(f"{method.kind} is no strategy of Flower's: it {found[0]}")


class MergingStrategy(FedAvg):  # type: ignore[misc]
    """FedAvg, with each pair of LoRA factors merged by a method; what else travels is
    averaged."""

    def __init__(self, method: Method, **fedavg: Any) -> None:
        super().__init__(**fedavg)
        self.method = method
        self._before: State = {}  # what clients have started from

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Note what clients start from, and ask them as FedAvg does."""
        self._before = arrays.to_torch_state_dict()
        found: Iterable[Message] = super().configure_train(
            server_round, arrays, config, grid
        )
        return found

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return the merge of the replies' adapters, and FedAvg's metrics."""
        replies = list(replies)
        averaged, metrics = super().aggregate_train(server_round, replies)
        if averaged is None:
            return None, metrics
        contents = [one.content for one in replies if not one.has_error()]
        states = [
            next(iter(one.array_records.values())).to_torch_state_dict()
            for one in contents
        ]
        counts = [
            float(next(iter(one.metric_records.values()))[self.weighted_by_key])
            for one in contents
        ]
        weights = [one / sum(counts) for one in counts]
        found = merged(self.method, states, weights, self._before)
        return ArrayRecord(found), metrics


def merged(
    method: Method, states: list[State], weights: list[float], before: State
) -> OrderedDict[str, Tensor]:
    """Return one state dict of several, in the order of their names."""
    names = list(states[0])
    lefts = [name for name in names if B in name]
    layers = {
        left: LayerComponents(
            tuple(_pair(state, left) for state in states),
            tuple(weights),
            _pair(before, left) if left in before else None,
        )
        for left in lefts
    }
    pairs = {left: one.pair for left, one in method.merge(layers).items()}
    found: OrderedDict[str, Tensor] = OrderedDict()
    for name in names:
        if name in pairs:
            found[name] = pairs[name].lora_b
        elif name.replace(A, B) in pairs:
            found[name] = pairs[name.replace(A, B)].lora_a
        else:
            found[name] = weighted_mean([state[name] for state in states], weights)
    return found


def _pair(state: State, left: str) -> Pair:
    """Return the factors of one matrix; refuse what is no plain pair."""
    right = left.replace(B, A)
    if right not in state:
        raise ValueError(f"{left} has no {right}: this is no plain LoRA adapter")
    return Pair(state[left], state[right])

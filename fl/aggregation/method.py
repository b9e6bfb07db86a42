"""What the simulation needs to know of an aggregation method, without torch.

``exchange(round_index)`` names the parts of every adapted matrix that clients train,
send and receive. ``contract`` states what clients continue from, what never leaves
them, and what the method cannot do, with the reason. What is trained outside LoRA is
sent in full, unless it is personal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from fl.aggregation.components import LayerComponents, MergedLayer, weighted_mean
from fl.model.payload import (
    NOTHING,
    Extent,
    PartName,
    Shape,
    part_extent,
    parts_extent,
)

if TYPE_CHECKING:
    from torch import Tensor

Ability: TypeAlias = Literal[
    "asynchrony",  # clients may start from an older version than the newest
    "independent-sampling",  # client weights may not sum to 1, such as 1/q
    "secure-aggregation",  # the server learns only weighted sums of uploads
    "server-optimiser",  # the server steps along the change of the global pair
    "sketches",  # clients train and send some rank units of the adapter
    "unequal-ranks",  # clients may have adapters of a smaller rank
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """The parts of every adapted matrix trained, sent and received in one round.

    ``receives`` are the parts that the merge changed. A client that missed several
    versions needs the union of theirs.
    """

    trains: tuple[PartName, ...]
    sends: tuple[PartName, ...]
    receives: tuple[PartName, ...]


LORA = Exchange(trains=("B", "A"), sends=("B", "A"), receives=("B", "A"))
ONLY_B = Exchange(trains=("B",), sends=("B",), receives=("B",))
ONLY_A = Exchange(trains=("A",), sends=("A",), receives=("A",))


# Returns one merged tensor of those that the components have, trained outside LoRA.
Rest: TypeAlias = "Callable[[Sequence[Tensor], Sequence[float]], Tensor]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What a method guarantees and what it excludes.

    Clients continue from the whole ``pair``; from its ``prefix``, the first ``r_u``
    columns of B and rows of A for a client of rank ``r_u``; or from a ``restart`` with
    B = 0 after the fold has been added to the base.
    """

    exactness: Literal["exact", "best-rank", "approximate", "personal"]
    continues_from: Literal["pair", "prefix", "restart"] = "pair"
    is_truncated_on_send: bool = False  # the server sends no more than the prefix
    is_folding: bool = False  # versions may add to the frozen base
    is_fold_dense: bool = False  # the addition is always sent dense
    has_own_rank: bool = False  # not the adapter's: it varies by version
    personal: tuple[Literal["A", "B", "rest"], ...] = ()  # never leaves the client
    small_clients: Literal["sketched", "truncated"] = "sketched"  # the default
    rest: Rest = weighted_mean  # how what is trained outside LoRA is merged
    cannot: Mapping[Ability, str] = field(default_factory=dict)  # with the reason

    def refusals(self, needed: Iterable[Ability]) -> list[str]:
        """Return one reason for each needed ability that the method lacks."""
        return [f"{n}: {self.cannot[n]}" for n in needed if n in self.cannot]


class Method(Protocol):
    """An aggregation method with all that the simulation needs to know of it."""

    @property
    def kind(self) -> str:
        """Return the name used in scenarios and in the trace."""

    @property
    def contract(self) -> Contract:
        """Return the contract under the present settings."""

    def exchange(self, round_index: int) -> Exchange:
        """Return the parts exchanged in a round; rounds count from zero."""

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        """Return one merged layer per name, in the order given; inputs are not changed.

        A single component is returned bit for bit, unless the method restarts or
        re-factors. Callers sort components by (client, start index) and do not merge
        a round without arrivals. Its arguments may name more: fields of
        ``fl.aggregation.context.MergeContext``.
        """


class VersionRanks(NamedTuple):
    """The ranks of one merged matrix, on which the size of its download depends."""

    pair: int
    fold: int  # 0: nothing to fold


def ranks(merged: MergedLayer) -> VersionRanks:
    """Return the ranks of a merged layer."""
    fold = 0 if merged.fold is None else merged.fold.lora_a.shape[0]
    return VersionRanks(merged.pair.lora_a.shape[0], fold)


def fold_extent(contract: Contract, shape: Shape, fold_rank: int, rank: int) -> Extent:
    """Return what a fold of this rank takes: its factors or, where that is less, the
    dense matrix and the restarted A, which only factors would tell."""
    if not fold_rank:
        return NOTHING
    num_rows, num_columns = shape
    dense = Extent(num_rows * num_columns, 1, num_rows)
    if contract.continues_from == "restart":
        dense += part_extent("A", shape, rank)
    factors = parts_extent(("B", "A"), [shape], fold_rank)
    is_dense = contract.is_fold_dense or dense.num_numbers <= factors.num_numbers
    return dense if is_dense else factors


# Reasons that several methods share.
NEEDS_FACTORS = "the server needs each client's factors, not only their weighted sum"
FOLDS = (
    "each version changes the frozen base, so an update made on an older base cannot "
    "be merged"
)
ONE_RANK = "clients share one pair of factors; use 'hetlora', 'flexlora' or 'thin-svd'"
NEW_GAUGE = (
    "every merge chooses a new gauge for the factors, and the optimiser's moments are "
    "in the old one; use gauge 'as-is', 'scale-matched' or 'procrustes' where the "
    "method has them"
)
NO_STEP = "the round's change is folded into the base, not left in the pair"

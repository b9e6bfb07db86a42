"""What the simulation must know of a method: what travels, what stays, what cannot be.

A ``Method`` is a ``Merge`` that also answers, without torch,

* ``exchange(round_index)``: the parts of every adapted matrix that clients train, send
  and receive; numbers follow from it by ``upload_numbers`` and ``download_numbers``;
* ``contract``: what clients continue from, what never leaves them, and the abilities
  it lacks, each with the reason a scenario check gives.

What is trained outside LoRA travels besides, in full, unless it is personal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias

from fl.aggregation.components import Merge, MergedLayer
from fl.model.payload import PartName, Shape, parts_extent

Ability: TypeAlias = Literal[
    "asynchrony",  # clients that started from an older version than the newest
    "independent-sampling",  # client weights that do not sum to 1, such as 1/q's
    "secure-aggregation",  # the server learns weighted sums of uploads only
    "server-optimiser",  # a step of its own along the change of the global pair
    "sketches",  # clients that train and send some rank units of the adapter
    "unequal-ranks",  # clients whose adapters are of their own, smaller rank
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """The parts of every adapted matrix that are trained and travel in one round.

    ``receives`` are those that the round's merge changed: a client that has the
    version before needs them, one that missed several versions their union.
    """

    trains: tuple[PartName, ...]
    sends: tuple[PartName, ...]
    receives: tuple[PartName, ...]


LORA = Exchange(trains=("B", "A"), sends=("B", "A"), receives=("B", "A"))
ONLY_B = Exchange(trains=("B",), sends=("B",), receives=("B",))
ONLY_A = Exchange(trains=("A",), sends=("A",), receives=("A",))


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What a method promises and what it rules out, as the simulation must act on it.

    ``continues_from``: the whole ``pair``; its ``prefix``, the first ``r_u`` columns of
    B and rows of A for a client of rank ``r_u``; or a ``restart`` with B = 0 (and, as a
    paper may have it, a fresh A) after the fold has gone into the base.
    """

    exactness: Literal["exact", "best-rank", "approximate", "personal"]
    continues_from: Literal["pair", "prefix", "restart"] = "pair"
    is_truncated_on_send: bool = False  # the server sends no more than the prefix
    is_folding: bool = False  # versions may add to the frozen base
    is_fold_dense: bool = False  # and this addition always travels dense
    personal: tuple[Literal["A", "B", "rest"], ...] = ()  # stays with the client
    small_clients: Literal["sketched", "truncated"] = "sketched"  # unless told
    cannot: Mapping[Ability, str] = field(default_factory=dict)  # why not

    def refusals(self, needed: Iterable[Ability]) -> list[str]:
        """Return one reason for each needed ability that is lacking."""
        return [f"{n}: {self.cannot[n]}" for n in needed if n in self.cannot]


class Method(Merge, Protocol):
    """An aggregation method as the simulation sees it."""

    @property
    def kind(self) -> str:
        """Return the name that the trace shows."""
        ...

    @property
    def contract(self) -> Contract:
        """Return what it promises, with the settings that it has."""
        ...

    def exchange(self, round_index: int) -> Exchange:
        """Return what travels in a round, counted from zero."""
        ...


class VersionRanks(NamedTuple):
    """How much of one matrix a merge made: all that its download depends on."""

    pair: int
    fold: int  # 0: nothing to fold


class Download(NamedTuple):
    """Numbers per adapted matrix that one version costs a client that has the one
    before.

    Both are common to all who get them, so a broadcast carries the longest prefix
    once; no method sends anything private. Folds add up over missed versions, up to
    one dense matrix; the pair does not.
    """

    pair: int
    fold: int


def ranks(merged: MergedLayer) -> VersionRanks:
    """Return the ranks of a merged layer."""
    fold = 0 if merged.fold is None else merged.fold.lora_a.shape[0]
    return VersionRanks(merged.pair.lora_a.shape[0], fold)


def upload_numbers(
    method: Method, shape: Shape, *, rank: int, round_index: int = 0
) -> int:
    """Return the numbers that a client of this rank, or of this many sketched rank
    units, sends."""
    parts = method.exchange(round_index).sends
    return parts_extent(parts, [shape], rank).num_numbers


def download_numbers(
    method: Method,
    shape: Shape,
    *,
    version: VersionRanks,
    rank: int,
    round_index: int = 0,
) -> Download:
    """Return the numbers of the version that round ``round_index`` made, for a client
    of this rank."""
    contract = method.contract
    width = min(rank, version.pair) if contract.is_truncated_on_send else version.pair
    parts = method.exchange(round_index).receives
    pair = parts_extent(parts, [shape], width).num_numbers
    dense = shape.num_rows * shape.num_columns
    fold = min(dense, version.fold * (shape.num_rows + shape.num_columns))
    return Download(pair, dense if version.fold and contract.is_fold_dense else fold)


# Reasons that several methods share.
NEEDS_FACTORS = "the server needs each client's factors, not only their weighted sum"
FOLDS = (
    "each version changes the frozen base, so an update made on an older base cannot "
    "be merged"
)
ONE_RANK = "clients share one pair of factors; use 'hetlora', 'flexlora' or 'thin-svd'"
NEW_GAUGE = (
    "every merge chooses new coordinates for the factors, and the optimiser's memory "
    "is in the old ones; use gauge 'as-is', 'scale-matched' or 'procrustes' where the "
    "method has them"
)
NO_STEP = "the pair does not move by itself: the base takes the round's change"

"""Fed-SB: train an r x r core between fixed bases (Singhal et al., arXiv
2502.15436)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, weighted_mean
from fl.aggregation.layerwise import merge_each
from fl.aggregation.method import ONE_RANK, Contract, Exchange
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.shared_factor import require_shared
from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor

CONTRACT = Contract(
    exactness="exact",
    cannot={
        "sketches": "a core has no columns or rows that belong to one rank unit",
        "unequal-ranks": ONE_RANK,
    },
)
EXCHANGE = Exchange(trains=("core",), sends=("core",), receives=("core",))


class FedSB(Record):
    """Average the cores R of ``W = W0 + s B R A`` over fixed, common B and A; exact,
    because the product is linear in R.

    A component is the pair ``(B R_i, A)``, see ``with_core``; averaging it averages the
    cores. Traffic: r^2 numbers each way; the bases are known from the start.
    """

    kind: Literal["fed-sb"] = "fed-sb"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return EXCHANGE

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: ReferenceNorms) -> MergedLayer:
        require_shared(layer, "A", self.kind)
        mean_b = weighted_mean([pair.lora_b for pair in layer.pairs], layer.weights)
        pair = Pair(mean_b, layer.pairs[0].lora_a)
        return MergedLayer(pair, size.diagnostics(size.gap))


def with_core(bases: Pair, core: Tensor) -> Pair:
    """Return ``(B R, A)``."""
    return Pair(bases.lora_b @ core, bases.lora_a)


def core_of(bases: Pair, pair: Pair) -> Tensor:
    """Return the R of a pair ``(B R, A)``; B has full column rank."""
    import torch

    found: Tensor = torch.linalg.lstsq(bases.lora_b, pair.lora_b).solution
    return found

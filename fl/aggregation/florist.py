"""FLoRIST: keep the directions that hold enough energy (Ramesh and Dass, arXiv
2506.09199)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, like, mix
from fl.aggregation.method import (
    LORA,
    NEEDS_FACTORS,
    NEW_GAUGE,
    Contract,
    Exchange,
)
from fl.aggregation.reference_norms import Yardstick, averaged, is_settled, merge_each
from fl.aggregation.spectral import balanced, exact_spectrum, ideal_stack
from fl.record import Record

CONTRACT = Contract(
    exactness="best-rank",
    small_clients="truncated",
    continues_from="prefix",
    cannot={"secure-aggregation": NEEDS_FACTORS, "server-optimiser": NEW_GAUGE},
)


class Florist(Record):
    """Send the SVD of ``W*`` at the smallest rank r_tau that keeps this share of
    ``||W*||^2``, the same to all; the balanced gauge.

    The rank is the round's own, above or below the clients': they take their prefix
    or pad, and a client of smaller rank loses the tail. Traffic: r_u (m + n) numbers
    up, r_tau (m + n) down.
    """

    kind: Literal["florist"] = "florist"
    energy: float = Field(default=0.99, gt=0, le=1)

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        if is_settled(layer, size):
            return averaged(layer, size)
        exact = layer.double()
        spectrum = exact_spectrum(ideal_stack(exact))
        rank = spectrum.smallest_rank(self.energy)
        average = mix(exact, exact.weights, exact.weights)
        pair = balanced(spectrum, rank, average)
        return MergedLayer(like(pair, layer), size.diagnostics(spectrum.tail(rank)))

"""Residual folding: a rank-r pair plus the largest directions of its error, up to the
exact merge (METHOD.md 11.2, ours)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, like
from fl.aggregation.context import merged_by
from fl.aggregation.fedit import FedIT
from fl.aggregation.flora_na import FloraNA
from fl.aggregation.free_als import FreeALS
from fl.aggregation.method import FOLDS, NEEDS_FACTORS, NO_STEP, Contract, Exchange
from fl.aggregation.reference_norms import reference_norms
from fl.aggregation.spectral import NEGLIGIBLE, Spectrum, exact_spectrum, stack
from fl.aggregation.thin_svd import ThinSVD
from fl.record import Record


class ByCount(Record):
    """Fold the first ``num_directions`` of every matrix."""

    kind: Literal["count"] = "count"
    num_directions: int = Field(ge=0)

    def choose(self, spectra: Mapping[str, Spectrum]) -> dict[str, int]:
        return {
            name: min(self.num_directions, len(spectrum.values))
            for name, spectrum in spectra.items()
        }


class ByEnergy(Record):
    """Fold the fewest directions that remove this share of ``||W* - Bhat Ahat||^2``."""

    kind: Literal["energy"] = "energy"
    energy: float = Field(gt=0, le=1)

    def choose(self, spectra: Mapping[str, Spectrum]) -> dict[str, int]:
        return {
            name: spectrum.smallest_rank(self.energy)
            for name, spectrum in spectra.items()
        }


class ByBytes(Record):
    """Fold the directions that lower the squared error most per byte, over all matrices
    of the model, within a budget per version."""

    kind: Literal["bytes"] = "bytes"
    budget_bytes: int = Field(ge=0)
    bits_per_number: int = Field(default=32, ge=1)

    def choose(self, spectra: Mapping[str, Spectrum]) -> dict[str, int]:
        counts = dict.fromkeys(spectra, 0)
        left = 8 * self.budget_bytes // self.bits_per_number
        offers = sorted(
            (
                (float(value) ** 2 / numbers_per_direction(spectrum), name)
                for name, spectrum in spectra.items()
                for value in spectrum.values
            ),
            key=lambda offer: -offer[0],  # stable: ties keep the order of the layers
        )
        for _, name in offers:
            if numbers_per_direction(spectra[name]) <= left:
                counts[name] += 1
                left -= numbers_per_direction(spectra[name])
        return counts


Directions: TypeAlias = Annotated[
    ByCount | ByEnergy | ByBytes, Field(discriminator="kind")
]
Projection: TypeAlias = Annotated[
    FedIT | FloraNA | ThinSVD | FreeALS, Field(discriminator="kind")
]


class Residual(Record):
    """Send a method's pair, and fold the s largest directions of ``W* - Bhat Ahat``
    into the base.

    s = 0 is the method itself. With U components, s = (U - 1) r is exact after
    averaging or SVD, s = U r after FLoRA-NA or ALS. Traffic: r (m + n) numbers up,
    (r + s)(m + n) down, or dense where that is less.
    """

    kind: Literal["residual"] = "residual"
    projection: Projection = ThinSVD()
    directions: Directions = ByCount(num_directions=8)

    @property
    def contract(self) -> Contract:
        cannot = {
            **self.projection.contract.cannot,
            "asynchrony": FOLDS,
            "secure-aggregation": NEEDS_FACTORS,
            "server-optimiser": NO_STEP,
            "unequal-ranks": "the fold completes the whole pair, not a prefix of it",
        }
        return Contract(exactness="approximate", is_folding=True, cannot=cannot)

    def exchange(self, round_index: int) -> Exchange:
        return self.projection.exchange(round_index)

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        merged = merged_by(self.projection, layers)
        norms = reference_norms(layers)
        spectra = {
            name: residual_spectrum(layers[name], layer.pair, norms[name].norm)
            for name, layer in merged.items()
            if norms[name].norm < float("inf")
        }
        for name, count in self.directions.choose(spectra).items():
            if count:
                known = norms[name].diagnostics(spectra[name].tail(count))
                fold = like(spectra[name].section(0, count), layers[name])
                left = replace(
                    merged[name].diagnostics,
                    relative_error=known.relative_error,
                    update_relative_error=known.update_relative_error,
                )
                merged[name] = replace(merged[name], diagnostics=left, fold=fold)
        return merged


def residual_spectrum(layer: LayerComponents, pair: Pair, norm: float) -> Spectrum:
    """Return the singular triples of ``W*`` minus the pair, above round-off."""
    import torch

    smallest = max(NEGLIGIBLE, torch.finfo(pair.lora_b.dtype).eps) * norm
    gap = exact_spectrum(stack((*layer.pairs, pair), (*layer.weights, -1.0)))
    kept = int((gap.values > smallest).sum())
    return Spectrum(
        gap.left[:, :kept], gap.values[:kept], gap.right[:kept], gap.tail(kept)
    )


def numbers_per_direction(spectrum: Spectrum) -> int:
    """Return how many numbers one direction takes: m + n."""
    return len(spectrum.left) + spectrum.right.shape[1]

"""Exponential averages of the versions of a global adapter, for evaluations."""

from __future__ import annotations

import math
from typing import Final

from fl.federation.version_cache import VersionCache
from fl.federation.versions import StoredVersion, Version
from fl.memory import recipe
from fl.memory.store import Entry

NEGLIGIBLE: Final = 1e-6  # versions whose part would be below it are left out

Trail = tuple[tuple[str, Entry[StoredVersion]], ...]


class Averages:
    """The average of a version and of those that led to it, ``sum decay^j W_j / sum
    decay^j`` over the versions back from it, save the first one.

    Models are averaged, not factors: products ``B A`` go into the fold, so that it does
    not matter in which coordinates a merge leaves them. Without ``decay`` a version
    stands for itself.
    """

    def __init__(self, decay: float | None, versions: VersionCache) -> None:
        self._decay = decay
        self._versions = versions
        self._trails: dict[str, Trail] = {}

    def follow(self, newest: str, before: str) -> None:
        """Note that one version was made of another."""
        if self._decay is None or newest == before:
            return
        length = math.ceil(math.log(NEGLIGIBLE) / math.log(self._decay))
        link = (newest, self._versions.entry(newest))
        trail = (*self._trails.get(before, ()), link)[-length:]
        is_kept = self._versions.is_kept
        self._trails = {v: t for v, t in self._trails.items() if is_kept(v)}
        self._trails[newest] = trail

    def name(self, version: str) -> str:
        """Return the name of what is evaluated for a version."""
        if version not in self._trails:
            return version
        names: list[recipe.Json] = [name for name, _ in self._trails[version]]
        made: dict[str, recipe.Json] = {"versions": names, "decay": self._decay}
        return recipe.digest("average", made)

    def model(self, version: str) -> Version:
        """Return the numbers of what is evaluated for a version."""
        if version not in self._trails:
            return self._versions.model(version)
        assert self._decay is not None, "only an average has a trail"
        models = [self._versions.model_of(entry) for _, entry in self._trails[version]]
        shares = [self._decay**age for age in range(len(models) - 1, -1, -1)]
        return averaged(models, [share / math.fsum(shares) for share in shares])


def averaged(models: list[Version], shares: list[float]) -> Version:
    """Return the weighted mean of models that have one layout outside the factors: its
    pairs are zero, and their products stand in the fold."""
    import torch

    last = models[-1].adapter
    fold: dict[str, torch.Tensor] = {}
    rest: dict[str, torch.Tensor] = {}
    for model, share in zip(models, shares, strict=True):
        folds = model.folds()
        for name, (lora_b, lora_a) in model.adapter.pairs().items():
            matrix = lora_b @ lora_a + folds.get(name, 0.0)
            fold[name] = fold.get(name, 0.0) + share * matrix
        for name, one in model.adapter.rest().items():
            rest[name] = rest.get(name, 0.0) + share * one
    zeros = {
        name: pair._replace(
            lora_b=torch.zeros_like(pair.lora_b), lora_a=torch.zeros_like(pair.lora_a)
        )
        for name, pair in last.pairs().items()
    }
    flat = torch.cat([matrix.reshape(-1) for matrix in fold.values()])
    return Version(last.with_pairs(zeros, rest), flat)

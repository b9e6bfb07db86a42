"""Each client's own adapter and the global one, judged on the client's own labels.

The test split holds nothing that anybody trained on. Its samples of each label are
judged by themselves and weighted by the labels' proportions in the client's training
data: the expected metrics on new samples of this client's distribution, with nothing
drawn and nothing held back from training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.contract import Score
from fl.federation.federated_model import FederatedModel
from fl.federation.versions import Version
from fl.memory import recipe
from fl.memory.memory import Memory
from fl.memory.store import Entry
from fl.model.evaluation import measured
from fl.model.evaluation_settings import EvaluationSettings
from fl.settings.federation import FederationSettings

PERSONAL, GLOBAL = "local-personal", "local-global"
ByLabel = Mapping[int, Score]


def label_shares(labels: NDArray[np.int64]) -> dict[int, float]:
    """Return how large a part of the samples each label is."""
    found, counts = np.unique(labels, return_counts=True)
    shares = counts / counts.sum()
    return dict(zip(found.tolist(), shares.tolist(), strict=True))


def weighted(metrics: ByLabel, shares: Mapping[int, float], shown: str) -> Score:
    """Return the metrics under shares of labels; labels without any are left out."""
    known = {label: share for label, share in shares.items() if label in metrics}
    total = math.fsum(known.values())

    def mean(name: str) -> float:
        values = ((s, getattr(metrics[label], name)) for label, s in known.items())
        return math.fsum(share * value for share, value in values) / total

    loss = mean("loss")
    is_causal = any(metrics[label].perplexity is not None for label in known)
    return Score(
        split=shown,
        num_samples=sum(metrics[label].num_samples for label in known),
        loss=loss,
        accuracy=mean("accuracy"),
        perplexity=math.exp(min(loss, 700.0)) if is_causal else None,
    )


@dataclass(frozen=True)
class LocalScorer:
    """Judges adapters label by label, and remembers what came out."""

    learning: FederationSettings
    shares: Sequence[NDArray[np.int64]]  # each client's training samples
    model: FederatedModel
    memory: Memory
    code: str  # the digest of what computes scores

    def personal(
        self, client_id: int, name: str, model: Callable[[], Version]
    ) -> tuple[int, ByLabel]:
        """Return how good a client's own adapter is on each label that it has; ``name``
        says what its model came of."""
        return client_id, self._by_label(name, self._labels(client_id), model)

    def compared(
        self,
        personal: Sequence[tuple[int, ByLabel]],
        version: str,
        model: Callable[[], Version],
    ) -> tuple[Score, ...]:
        """Return of each client the score of its own adapter, then that of a version
        of the global one."""
        if not personal:
            return ()
        everything = label_shares(self.learning.task.labels("test"))
        shared = self._by_label(version, everything, model)
        return tuple(
            weighted(found, self._labels(client_id), shown)._replace(
                client_id=client_id
            )
            for client_id, own in sorted(personal, key=lambda pair: pair[0])
            if own  # else the test has none of its labels
            for found, shown in ((own, PERSONAL), (shared, GLOBAL))
        )

    @property
    def _settings(self) -> EvaluationSettings:
        return self.learning.evaluation.model_copy(update={"exact_match": False})

    def _labels(self, client_id: int) -> dict[int, float]:
        return label_shares(self.learning.task.labels("train")[self.shares[client_id]])

    def _by_label(
        self, name: str, labels: Mapping[int, float], model: Callable[[], Version]
    ) -> ByLabel:
        asked = {
            "of": name,
            "labels": sorted(labels),
            "task": self.learning.task.digest,
            "settings": recipe.settings(self._settings),
            "keeps_outputs": self.learning.training.cache_frozen_layers,
            "code": self.code,
        }
        return self.memory.get(
            recipe.digest("by label", asked),
            dict[int, Score],
            lambda: Entry(self._measured(model(), labels)),
        ).record

    def _measured(
        self, model: Version, labels: Mapping[int, float]
    ) -> dict[int, Score]:
        task, settings = self.model.task, self._settings
        held = task.labels("test")
        indices = settings.places(len(held), "test")
        lora_model = self.model.as_version(model)
        found = {}
        for label in sorted(labels):
            mine = indices[held[indices] == label]
            if len(mine):
                found[label] = measured(
                    lora_model, task, "test", mine, settings=settings, shown="test"
                )
        return found

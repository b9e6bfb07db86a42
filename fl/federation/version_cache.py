"""The versions of one federation that something may still need."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from fl.federation.federated_model import FederatedModel
from fl.federation.versions import StoredVersion, Version
from fl.memory.memory import Memory
from fl.memory.store import Entry
from fl.model.adapters import Adapter

if TYPE_CHECKING:
    from torch import Tensor


class VersionCache:
    """Versions by name, as entries of the store and as models; a name outlives both.

    The first version is always kept: pilots start from it, and a run may again.
    """

    def __init__(self, model: FederatedModel, memory: Memory, first: str) -> None:
        self._model = model
        self._memory = memory
        self._first = first
        self._needed = {first}
        self._held: frozenset[str] = frozenset()
        self._entries: dict[str, Entry[StoredVersion]] = {}
        self._models: dict[str, Version] = {}

    def entry(self, version: str) -> Entry[StoredVersion]:
        """Return a version's entry; that of the first one is made when asked."""
        if version not in self._needed:
            raise KeyError(f"version {version} is no longer kept")
        if version not in self._entries:
            self._entries[version] = self._memory.get(
                version, StoredVersion, lambda: Version(self._initial()).entry()
            )
        return self._entries[version]

    def _initial(self) -> Adapter:
        """Return the first version; what its clients receive of it, where the server
        goes on from that."""
        own, learning = self._model.initial, self._model.learning
        if not learning.keeps_as_sent:
            return own
        return learning.as_sent(own, learning.exchange(1).receives)

    def model(self, version: str) -> Version:
        """Return a version's numbers."""
        if version not in self._models:
            self._models[version] = self.model_of(self.entry(version))
        return self._models[version]

    def model_of(self, entry: Entry[StoredVersion]) -> Version:
        """Return the numbers of a version's entry, kept or not."""
        return Version.of(entry, self._model.lora_model.layout)

    def is_kept(self, version: str) -> bool:
        """Return whether something may still need a version."""
        return version in self._needed

    def sent(self, version: str, rank: int) -> Adapter:
        """Return what clients of some rank have of a version."""
        own = self.model(version).at_rank(rank, self._model.initial)
        learning = self._model.learning
        if learning.keeps_as_sent:
            return own
        return learning.as_sent(own, learning.exchange(1).receives)

    def shared(self, version: str) -> Tensor | None:
        """Return what clients are sent with a version, for their local training."""
        own = self.model(version).shared
        return None if own is None else self._model.learning.payload.rounded(own)

    def hold(self, versions: Collection[str]) -> None:
        """Keep the newest version and those in force, and no others from now."""
        self._held = frozenset(versions)

    def keep(
        self, newest: str, entry: Entry[StoredVersion], needed: Collection[str]
    ) -> None:
        """Note the newest version, and forget those that nothing needs."""
        self._entries[newest] = entry
        self._needed = kept = {self._first, newest, *needed, *self._held}
        self._entries = {v: e for v, e in self._entries.items() if v in kept}
        self._models = {v: m for v, m in self._models.items() if v in kept}

    def note(self, version: str, model: Version) -> None:
        """Note the numbers of a version that is about to be the newest."""
        self._models[version] = model

"""The adapter version in force, and the merges that make the next one."""

from __future__ import annotations

from collections.abc import Sequence

from fl.contract import Arrival, Branch, Job, LayerError, Merged
from netsim.client.participation import Participation
from netsim.client.scene import Scene
from netsim.trace.rows import Merge, Update


class Versions:
    """Merges updates into versions, and writes how good each merge is."""

    def __init__(self, scene: Scene) -> None:
        self.current = scene.learner.initial_version
        self.last_layers: Sequence[LayerError] = ()  # of the last merge
        self.num_diverged = 0  # since the last round's end
        self._scene = scene

    def merge(
        self,
        round_id: int,
        parts: Sequence[Participation],
        examined: Sequence[str],
        *,
        is_mixed: bool,
    ) -> Merged:
        """Merge what arrived into a new version in force; the adapters of the tickets
        ``examined`` are scored."""
        merged = self.merged(self.current, round_id, parts, examined, is_mixed=is_mixed)
        self.current, self.last_layers = merged.version, merged.layers
        return merged

    def merged(
        self,
        version: str,
        round_id: int,
        parts: Sequence[Participation],
        examined: Sequence[str] = (),
        *,
        is_mixed: bool = False,
    ) -> Merged:
        """Merge what arrived into a version. Updates with numbers that are not finite
        are left out: their status becomes ``diverged``."""
        arrivals = []
        for part in parts:
            assert part.weight is not None
            arrivals.append(Arrival(part.ticket, part.weight, is_mixed))
        merged = self._scene.learner.merge(version, arrivals, examined)
        self.num_diverged += len(merged.diverged)
        for part in parts if merged.diverged else ():
            if part.ticket in merged.diverged:
                part.discard("diverged")
                detail = merged.diverged[part.ticket]
                where = {"round_id": round_id, "client_id": part.client_id}
                self._scene.mark("diverged", **where, detail=detail)
        self._write_layers(round_id, merged)
        if self._scene.tells_updates:
            self._write_updates(round_id, parts, merged)
        return merged

    def _write_updates(
        self, round_id: int, parts: Sequence[Participation], merged: Merged
    ) -> None:
        """Write what learning tells of each update in a merge."""
        nothing = [None] * len(parts)
        told = zip(
            parts,
            merged.losses or nothing,
            merged.norms2 or nothing,
            merged.epsilons or nothing,
            strict=True,
        )
        now_ns = self._scene.env.now
        self._scene.recorder.updates.extend(
            Update(part.task_id, round_id, now_ns, *facts) for part, *facts in told
        )

    def join(self, round_id: int, branches: Sequence[Branch]) -> None:
        """Merge what edge servers made of the version in force into a new one."""
        learner, versions = self._scene.learner, [branch.version for branch in branches]
        if all(version == self.current for version in versions):
            return  # no update has arrived anywhere
        learner.hold([self.current, *versions])
        joined = learner.join(self.current, branches, round_id=round_id)
        learner.hold([joined.version])
        self.current, self.last_layers = joined.version, joined.layers
        self._write_layers(round_id, joined)

    def bits(self, version: str, round_id: int) -> int:
        """Return the bits of a whole version, for a receiver that has none."""
        job = Job(0, 0, round_id, version, self._scene.learner.rank)
        return self._scene.learner.bits_down(job, None)[0]

    def _write_layers(self, round_id: int, merged: Merged) -> None:
        self._scene.recorder.merges.extend(
            Merge(round_id, *layer) for layer in merged.layers
        )

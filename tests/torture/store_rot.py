"""Bit rot in a store of finished learning, and the runs that use it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.torture.learned import (
    STORE,
    import_all,
    judged_apart,
    new_cache,
    run_words,
    summary,
)
from tests.torture.rotting import answered

DAMAGED = "is damaged"


@dataclass(frozen=True)
class StoreRot:
    """The intact store of a run, that of another, and runs made with it."""

    folder: Path
    other: Path
    counted: Path  # a cache that has all but the store
    run: Path  # finished
    begun: Path  # which has a round less
    digest: str
    what = "store"
    root = None  # no file is above the others

    def probed(self, place):
        """Return the answer of every command that uses the damaged store."""
        return {
            "run": self._ran(place),
            "resume": self._resumed(place),
            "replay": self._replayed(place),
        }

    def _ran(self, place):
        """Check that a run has the correct digest and repairs the store."""
        found = self._made(place, run_words(_free(place)))
        if found[0] == "fault":
            return found
        again = judged_apart(_cache(place), *run_words(_free(place)))
        if again.fault or again.code or summary(again)["steps_trained"]:
            return "fault", f"the store is not whole again: {again}"
        return found

    def _resumed(self, place):
        out = _free(place)
        shutil.copytree(self.begun, out)
        return self._made(place, (*run_words(out), "--resume"))

    def _replayed(self, place):
        words = ("replay", self.run, "--quiet", "--out", _free(place))
        verdict = judged_apart(self._copied(place), *words, allowed=(0,))
        return _said(verdict)

    def _copied(self, place):
        """Return a cache with a copy of the damaged store, for a run to repair."""
        shutil.rmtree(_cache(place), ignore_errors=True)
        shutil.copytree(self.counted, _cache(place))
        shutil.copytree(place, _cache(place) / STORE)
        return _cache(place)

    def _made(self, place, words):
        verdict = judged_apart(self._copied(place), *words, allowed=(0,))
        if verdict.fault:
            return answered(verdict)
        digest = summary(verdict)["digest"]
        if digest != self.digest:
            return "fault", f"digest {digest} from a damaged store"
        return _said(verdict)


def _said(verdict):
    """Return whether a successful command reported the damage."""
    answer, fault = answered(verdict)
    return ("said so" if DAMAGED in verdict.said else answer), fault


def _cache(place):
    return place.with_name("cache")


def _free(place):
    """Return a path for a run that does not exist yet."""
    out = place.with_name("again")
    shutil.rmtree(out, ignore_errors=True)
    return out


def sound_store(folder):
    """Return the stores of two runs with different seeds, each in its folder."""
    import_all()
    digests = []
    for seed in (1, 2):
        cache, out = new_cache(folder / f"cache-{seed}"), folder / f"run-{seed}"
        made = judged_apart(cache, *run_words(out, seed=seed))
        digests.append(summary(made)["digest"])
    begun, first = folder / "begun", folder / "cache-1"
    summary(judged_apart(first, *run_words(begun, "stop={rounds: 1}")))
    counted = folder / "counted"
    shutil.copytree(first, counted, ignore=shutil.ignore_patterns("store"))
    return StoreRot(
        first / STORE,
        folder / "cache-2" / STORE,
        counted,
        folder / "run-1",
        begun,
        digests[0],
    )

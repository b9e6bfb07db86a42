"""Bit rot in the adapter folder of a finished run, and all its readers."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tests.torture.learned import (
    import_all,
    judged_apart,
    new_cache,
    run_words,
    summary,
)
from tests.torture.rotting import answered

WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class AdapterRot:
    """The adapter of an intact run, that of another, and a run that started from it."""

    folder: Path
    other: Path
    run: Path  # whose adapter it is
    warm: Path  # which started from an equal folder, at the place of the damaged one
    cache: Path
    digest: str  # of the warm run
    what = "adapter"
    root = WEIGHTS

    def probed(self, place):
        """Return the answer of every reader, and what is wrong with it."""
        whole = place.with_name("whole")
        _replaced(self.run, whole)
        _replaced(place, whole / "adapter")
        return {
            "verify": self._verified(whole),
            "start of a run": self._started(whole, is_listed=True),
            "start": self._started(place, is_listed=False),
            "resume": self._resumed(place),
            "merge": self._merged(place),
        }

    def _judged(self, *words, allowed=(0, 2)):
        return judged_apart(self.cache, *words, allowed=allowed)

    def _verified(self, whole):
        """Check that an audit of the run reports a damaged adapter."""
        verdict = self._judged("verify", whole, allowed=(0, 1, 2))
        if not verdict.fault and verdict.code == 0:
            return "fault", "verify calls it sound"
        return answered(verdict)

    def _started(self, start, *, is_listed):
        """A run that starts from it refuses, or starts from just these numbers: from
        the right ones where a manifest lists them."""
        out = _free(start)
        verdict = self._judged(*run_words(out, f"learning.start={start}"))
        if verdict.fault or verdict.code:
            return answered(verdict)
        is_right = summary(verdict)["digest"] == self.digest
        path = (start / "adapter" if is_listed else start) / WEIGHTS
        has_right_numbers = _same_tensors(path, self.folder / WEIGHTS)
        if is_right != has_right_numbers or (is_listed and not is_right):
            return "fault", "a run starts from a damaged adapter"
        return "worked", ""

    def _resumed(self, place):
        """Check that a run does not continue if its start has changed."""
        out = _free(place)
        shutil.copytree(self.warm, out)
        words = run_words(out, f"learning.start={place}", "stop={rounds: 3}")
        verdict = self._judged(*words, "--resume", allowed=(2,))
        return answered(verdict)

    def _merged(self, place):
        """Check that a merge is refused, or is the average of both files."""
        out = _free(place)
        words = ("merge", place, self.other, "--method", "fedit", "--out", out)
        verdict = self._judged(*words, "--quiet")
        if verdict.fault or verdict.code:
            return answered(verdict)
        if not _is_average(out, place, self.other):
            return "fault", "the merge is not the average"
        return "worked", ""


def _is_average(out, *folders):
    found = load_file(out / WEIGHTS)
    given = [load_file(folder / WEIGHTS) for folder in folders]
    return all(
        np.isfinite(value).all()
        and np.allclose(value, (given[0][name] + given[1][name]) / 2, rtol=1e-5)
        for name, value in found.items()
    )


def _same_tensors(path, other):
    try:
        found, right = load_file(path), load_file(other)
    except (SafetensorError, OSError):
        return False
    return found.keys() == right.keys() and all(
        np.array_equal(value, right[name]) for name, value in found.items()
    )


def _replaced(folder, place):
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)


def _free(place):
    """Return a path for a run or an adapter that does not exist yet."""
    out = place.with_name("again")
    shutil.rmtree(out, ignore_errors=True)
    return out


def sound_adapter(folder):
    """Return the adapters of two runs, and a run that started from a copy of the first
    in the folder ``copy``."""
    import_all()
    cache = new_cache(folder / "cache")
    for seed in (1, 2):
        words = run_words(folder / f"run-{seed}", seed=seed)
        summary(judged_apart(cache, *words))
    adapter, place = folder / "run-1" / "adapter", folder / "copy"
    _replaced(adapter, place)
    words = run_words(folder / "warm", f"learning.start={place}")
    warm = summary(judged_apart(cache, *words))
    return AdapterRot(
        adapter,
        folder / "run-2" / "adapter",
        folder / "run-1",
        folder / "warm",
        cache,
        warm["digest"],
    )

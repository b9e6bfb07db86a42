"""Bit rot in a finished run, and all its readers."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from netsim import load_run
from netsim.errors import InputError
from netsim.runs.manifest import FILE_NAME
from netsim.trace.schemas import SCHEMAS
from tests.torture.judging import judged
from tests.torture.rotting import answered

SCENARIO = "network-only"
SETTINGS = ("stop={rounds: 3}", "population.num_clients=5")


@dataclass(frozen=True)
class RunRot:
    """An intact run, another like it, and the correct answers."""

    folder: Path
    other: Path
    frames: dict[str, pd.DataFrame]
    digest: str
    what = "run"
    root = FILE_NAME

    def probed(self, place):
        """Return the answer of every reader, and what is wrong with it."""
        found = {"load_run": _loaded(self, place), "verify": _verified(place)}
        again = place.with_name("again")
        shutil.rmtree(again, ignore_errors=True)
        found["replay"] = answered(
            judged("replay", place, "--quiet", "--out", again, allowed=(0, 1, 2))
        )
        out = again / "t.json"
        found["timeline"] = answered(judged("timeline", place, "--out", out))
        found["compare"] = answered(judged("compare", place, self.other))
        found["resume"] = _resumed(self, place)  # the last, since it may repair
        return found


def sound_run(folder):
    """Run the scenario with two seeds and return the facts of the first run."""
    for seed in (1, 2):
        verdict = judged(*run_words(folder / f"run-{seed}", "--seed", seed))
        assert not verdict.fault, verdict.fault
        assert verdict.code == 0, verdict.said
    run = load_run(folder / "run-1")
    frames = {name: run.table(name) for name in SCHEMAS}
    return RunRot(run.folder, folder / "run-2", frames, run.manifest.digest)


def run_words(out, *more):
    """Return the arguments of the command that makes such a run."""
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    return ("run", SCENARIO, *sets, "--quiet", "--out", out, *more)


def _loaded(sound, place):
    """Read every table and compare it with the correct one."""
    try:
        run = load_run(place)
    except InputError:
        return "said so", ""
    except Exception as error:
        return "fault", f"load_run: {error!r}"
    answers = {_table(run, name, right) for name, right in sound.frames.items()}
    if run.manifest.digest != sound.digest and "said so" not in answers:
        return "fault", f"the manifest gives digest {run.manifest.digest}"
    wrong = sorted(answers - {"", "said so"})
    if wrong:
        return "fault", "; ".join(wrong)
    return ("said so" if "said so" in answers else "worked"), ""


def _table(run, name, right):
    try:
        found = run.table(name)
    except InputError:
        return "said so"
    except Exception as error:
        return f"{name}: {error!r}"
    return "" if found.equals(right) else f"{name} is read with wrong numbers"


def _verified(place):
    """Check that an audit reports a damaged run."""
    verdict = judged("verify", place, allowed=(0, 1, 2))
    if not verdict.fault and verdict.code == 0:
        return "fault", "verify calls it sound"
    return answered(verdict)


def _resumed(sound, place):
    """Check that a resumed run has the correct digest, or is refused."""
    verdict = judged(*run_words(place, "--seed", 1, "--resume", "--json"))
    if verdict.fault or verdict.code:
        return answered(verdict)
    digest = json.loads(verdict.printed.splitlines()[-1])["digest"]
    if digest != sound.digest:
        return "fault", f"resume gives digest {digest}"
    after = judged("verify", place, allowed=(0, 1, 2))
    if after.code:
        return "fault", f"resume leaves a damaged run: {after.printed}{after.said}"
    return "worked", ""

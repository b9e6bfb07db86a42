"""Runs whose files rot: what reads them works on what is intact, or says what is not.

``python -m tests.torture.bit_rot --cases 1000 --out DIR``
"""

import argparse
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from netsim import load_run
from netsim.errors import InputError
from netsim.manifest import FILE_NAME
from netsim.trace.schemas import SCHEMAS

from .judging import judged, limit_memory, peak_bytes
from .shapes import seeded
from .table import Table, ignored

SCENARIO = "network-only"
SETTINGS = ("stop={rounds: 3}", "population.num_clients=5")
PROBES = ("load_run", "verify", "replay", "resume", "timeline", "compare")
DAMAGES = ("flip", "truncate", "swap", "remove", "empty", "overwrite", "append")
COLUMNS = ("damage", "cases", *PROBES, "faults", "peak MB")


@dataclass(frozen=True)
class Sound:
    """A sound run, another like it, and what is right to say of it."""

    folder: Path
    other: Path
    frames: dict[str, pd.DataFrame]
    digest: str


def sound_runs(folder):
    """Run the scenario with two seeds and return what is known of the first."""
    for seed in (1, 2):
        verdict = judged(*run_words(folder / f"run-{seed}", "--seed", seed))
        assert not verdict.fault, verdict.fault
        assert verdict.code == 0, verdict.said
    run = load_run(folder / "run-1")
    frames = {name: run.table(name) for name in SCHEMAS}
    return Sound(run.folder, folder / "run-2", frames, run.manifest.digest)


def run_words(out, *more):
    """Return the words of the command that makes such a run."""
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    return ("run", SCENARIO, *sets, "--quiet", "--out", out, *more)


def damaged_copy(sound, place, damage, rng):
    """Copy the sound run to a place, damage one file of it, and return which."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(sound.folder, place)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    # the manifest, the root of all, as often as all else together
    manifest = place / FILE_NAME
    path = manifest if rng.random() < 0.3 else rng.choice(files)
    others = [sound.other / path.relative_to(place), rng.choice(files)]
    path_content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "swap":
        path.write_bytes(rng.choice(others).read_bytes())
    else:
        path.write_bytes(_rotten(path_content, damage, rng))
    is_changed = not path.exists() or path.read_bytes() != path_content
    return path.relative_to(place).as_posix() if is_changed else None


def _rotten(content, damage, rng):
    """Return a file's bytes after some years in the wrong drawer."""
    if damage == "empty":
        return b""
    if damage == "truncate":
        return content[: rng.randrange(len(content))]
    if damage == "append":
        return content + rng.randbytes(rng.choice((1, 8, 500)))
    place = rng.randrange(len(content))
    if damage == "flip":
        flipped = content[place] ^ (1 << rng.randrange(8))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    zeros = bytes(rng.choice((1, 16, 512)))
    return (content[:place] + zeros + content[place + len(zeros) :])[: len(content)]


def probed(sound, place):
    """Return for every reader how it fared, and what is wrong with how it did."""
    found = {"load_run": _loaded(sound, place), "verify": _verified(place)}
    again = place.with_name("again")
    shutil.rmtree(again, ignore_errors=True)
    found["replay"] = _answered(
        judged("replay", place, "--quiet", "--out", again, allowed=(0, 1, 2))
    )
    found["timeline"] = _answered(judged("timeline", place, "--out", again / "t.json"))
    found["compare"] = _answered(judged("compare", place, sound.other))
    found["resume"] = _resumed(sound, place)  # the last, since it may repair
    return found


def _answered(verdict):
    if verdict.fault:
        return "fault", verdict.fault
    return ("worked" if verdict.code == 0 else "said so"), ""


def _loaded(sound, place):
    """Read every table and compare it with the right one."""
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
    """An audit must not call a damaged run sound."""
    verdict = judged("verify", place, allowed=(0, 1, 2))
    if not verdict.fault and verdict.code == 0:
        return "fault", "verify calls it sound"
    return _answered(verdict)


def _resumed(sound, place):
    """A resumed run must come to the right digest, or refuse."""
    verdict = judged(*run_words(place, "--seed", 1, "--resume", "--json"))
    if verdict.fault or verdict.code:
        return _answered(verdict)
    digest = json.loads(verdict.printed.splitlines()[-1])["digest"]
    if digest != sound.digest:
        return "fault", f"resume gives digest {digest}"
    after = judged("verify", place, allowed=(0, 1, 2))
    if after.code:
        return "fault", f"resume leaves a damaged run: {after.printed}{after.said}"
    return "worked", ""


def torment(sound, damage, seed, cases, place, seen=ignored):
    """Damage so many copies one by one and return counts and faults; ``seen`` gets a
    row per case."""
    counts, faults = Counter(), []
    for number in range(cases):
        rng = seeded(seed, damage, number)
        which = damaged_copy(sound, place, damage, rng)
        if which is None:
            continue
        counts["cases"] += 1
        for probe, (answer, fault) in probed(sound, place).items():
            counts[probe] += answer == "said so"
            if fault:
                faults.append((number, which, probe, fault))
        row = {"damage": damage, **counts, "faults": len(faults)}
        seen({**row, "peak MB": peak_bytes() // 10**6})
    return counts, faults


def main():
    """Write ``bit-rot.csv`` and what was wrong, fault by fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    limit_memory()
    sound = sound_runs(given.out)
    share = -(-given.cases // len(DAMAGES))
    table = Table(given.out / "bit-rot.csv", COLUMNS)
    with (given.out / "faults.txt").open("w") as log:
        for damage in DAMAGES:
            _, faults = torment(
                sound, damage, given.seed, share, given.out / "copy", table.put
            )
            for fault in faults:
                print(*fault, sep="\n", file=log, flush=True)
            print(damage, len(faults), "faults", flush=True)


if __name__ == "__main__":
    main()

"""Every file operation of a command fails once, each with every fault: nothing that was
finished is lost, one message says why, and the same command then ends as it would have.

``python -m tests.torture.operations --out DIR``
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fl.memory.files import YOUNG_S, clear_orphans
from fl.memory.store import Store
from netsim.cli.main import main as netsim_main
from netsim.core.files import damage
from netsim.errors import InputError
from netsim.runs.manifest import FILE_NAME, read_manifest
from tests.support.warm_workers import ForkedWorkers
from tests.torture.learned import import_all, new_cache
from tests.torture.table import Table
from tests.torture.tracing import ADDS, FAULTS, Injector, num_concerned, traced

COLUMNS = ("what", "fault", "operations", "cases", "noticed", "faults")
RUN = ("network-only", "--set", "stop={rounds: 1}", "--set", "population.num_clients=3")
LEARNING = (
    "quickstart",
    *("--set", "stop={rounds: 1}", "--set", "population.num_clients=2"),
    *("--set", "server.sampling={kind: full}"),
    *("--set", "learning.training.local_steps=1"),
)
STUDY = """\
name: struck
scenario: network-only
overrides: [stop.rounds=1, population.num_clients=3]
axes: [{path: cell.uplink.band, values: [1 MHz, 2 MHz]}]
seeds: [1]
baseline: {band: 1 MHz}
"""
TUNE = """\
name: struck
scenario: network-only
overrides: [stop.rounds=1, population.num_clients=3]
search: {cell.uplink.band: {low: 1 MHz, high: 2 MHz}}
objective: least time
trials: 2
sampler: random
seeds: [1]
"""
UNFINISHED = (".tmp", ".lock", ".draft-", ".unfinished", ".incoming", ".longer")
ANY_NAME = ("trials.journal",)  # files whose content tells of the tries, too


@dataclass
class Part:
    """A part of the harness: a command, and what must be true of its files."""

    what: str
    words: tuple[str, ...]
    place: Path  # of its input, of its folder and of its cache
    more: tuple[str, ...] = ()  # words of the second try
    codes: tuple[int, ...] = (0, 2)
    is_once: bool = False  # a second try after success is refused
    right: dict[str, str] = field(default_factory=dict)
    usual: frozenset[str] = frozenset()  # lines on stderr

    @property
    def folder(self):
        return self.place / "made"

    @property
    def cache(self):
        return self.place / "cache"

    @property
    def log(self):
        return self.place / "log"

    def clear(self):
        """Delete what the command made, and its learning."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.rmtree(self.cache, ignore_errors=True)
        new_cache(self.cache)
        (self.cache / "netsim").mkdir(parents=True, exist_ok=True)

    def called(self, decide, *more):
        """Run the command in a child under the microscope; return its exit code and
        what it said on stderr."""
        folders = (self.folder, self.cache)
        code = traced(lambda: self._become(more), folders, decide)
        return code, self.log.read_text(errors="replace")

    def _become(self, more):
        handle = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ["XDG_CACHE_HOME"] = str(self.cache)
        ForkedWorkers.install()  # start at once
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        sys.argv = ["netsim", *self.words, *more]
        code = 1
        try:
            netsim_main()
            code = 0
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else int(bool(ending))
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def learn_what_is_right(self):
        """Run undisturbed; return the operations."""
        self.clear()
        counting = Injector()
        code, said = self.called(counting)
        assert code == 0, said
        self.right, self.usual = self.results(), frozenset(said.splitlines())
        assert self.right
        assert self.left_over() == []
        assert self.forgotten(counting.seen) == []
        return counting.seen

    def forgotten(self, seen):
        """Return the files and folders whose name a loss of power may take, though the
        command has ended: nobody has brought the folder that holds it to the disk."""
        renamed = {one.paths[1]: one.paths[0] for one in seen if one.name == "rename"}
        found = []
        for path in sorted(self.folder.resolve().rglob("*")):
            folders = {str(path.parent), renamed.get(str(path.parent))}
            names = {f"{folder}/{path.name}" for folder in folders}
            made = [
                number
                for number, one in enumerate(seen)
                if one.name in ADDS and one.paths[-1] in names
            ]
            first = made[0 if path.is_dir() else -1]
            brought = {one.paths[0] for one in seen[first:] if one.name == "fsync"}
            if not brought & folders:
                found.append(path.relative_to(self.place.resolve()).as_posix())
        return found

    def results(self):
        """Return what must be the same however the command was disturbed: digests of
        complete runs, hashes of all other files."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if not path.is_file() or path.name in ANY_NAME:
                continue
            if path.name == FILE_NAME:
                manifest = read_manifest(path.parent)
                found[name] = f"{manifest.status} {manifest.digest}"
            else:
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def left_over(self):
        """Return unfinished files and locks; a draft in the cache may wait until it is
        old, and goes then."""
        for path in self.cache.rglob(".*"):
            old_s = time.time() - 2 * YOUNG_S
            os.utime(path, (old_s, old_s))
        Store(self.cache / "netsim" / "store").files()
        clear_orphans(self.cache / "netsim")
        return [
            path.relative_to(self.place).as_posix()
            for folder in (self.folder, self.cache)
            for path in folder.rglob("*")
            if any(mark in path.name for mark in UNFINISHED)
        ]

    def lost(self):
        """Return what is damaged though it says that it is complete."""
        wrong = []
        for path in self.folder.rglob(FILE_NAME):
            try:
                manifest = read_manifest(path.parent)
            except InputError as error:
                wrong.append(str(error))
                continue
            if manifest.status == "complete":
                found = (damage(path.parent, file) for file in manifest.all_files)
                wrong += filter(None, found)
        return wrong

    def struck(self, fault, nth):
        """Let the nth operation suffer a fault, and try again; return whether the
        command noticed, and what is wrong."""
        self.clear()
        strike = Injector(fault, nth)
        code, said = self.called(strike)
        if strike.hit is None:  # another order of threads
            return False, []
        place = f"{strike.hit.name} {Path(strike.hit.paths[-1]).name}"
        wrong = self.wrong_at_once(code, said) + self.lost()
        if code == 0 and self.is_once:
            return False, wrong
        again, said = self.called(Injector(), *self.more)
        if again:
            wrong.append(f"second try, exit code {again}: {said}")
        elif (found := self.results()) != self.right:
            wrong.append(f"second try, {_difference(self.right, found)}")
        wrong += [f"left over: {name}" for name in self.left_over()]
        return code != 0, [f"{self.what}, {fault.name} at {place}: {w}" for w in wrong]

    def wrong_at_once(self, code, said):
        """Return what is wrong with the end of a command that was disturbed."""
        if code == -signal.SIGKILL:
            return []
        if "Traceback" in said:
            return [f"a traceback: {said}"]
        if code not in self.codes:
            return [f"exit code {code}: {said}"]
        if code == 0:
            found = self.results()
            return [] if found == self.right else [_difference(self.right, found)]
        lines = [line for line in said.splitlines() if line not in self.usual]
        is_right = len(lines) == 1 or (code == 1 and lines)  # one per failed run
        return [] if is_right else [f"{len(lines)} lines: {said}"]


def _difference(right, found):
    names = [n for n in right.keys() | found.keys() if right.get(n) != found.get(n)]
    return f"other content: {', '.join(sorted(names))}"


def parts(place, only=None):
    """Return the parts of the harness, each with a folder of its own."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "study.yaml").write_text(STUDY)
    (place / "tune.yaml").write_text(TUNE)
    quiet, resume = ("--quiet",), ("--resume",)
    study = ("study", str(place / "study.yaml"), *quiet)
    commands = {
        "run": ("run", *RUN, *quiet),
        "run that learns": ("run", *LEARNING, *quiet),
        "study": study,
        "study, 2 workers": (*study, "--workers", "2"),
        "tune": ("tune", str(place / "tune.yaml"), *quiet),
        "merge": ("merge", str(place / "adapter"), str(place / "adapter"), *quiet),
    }
    found = []
    for what, words in commands.items():
        if only is not None and what not in only:
            continue
        own = place / what.replace(" ", "-").replace(",", "")
        out = own / "made" / "out"
        more = resume if what.startswith("run") else ()
        codes = (0, 2) if what.startswith(("run", "merge")) else (0, 1, 2)
        words = (*words, "--out", str(out))
        found.append(Part(what, words, own, more, codes, what == "merge"))
    if any(part.what == "merge" for part in found):
        write_adapter(place / "adapter")
    return found


def write_adapter(folder):
    """Write a small adapter as PEFT would."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    name = "base_model.model.layer.lora_{}.weight"
    tensors = {name.format("A"): torch.randn(2, 5), name.format("B"): torch.randn(4, 2)}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def cases(fault, seen, every=1):
    """Return the operations that a fault shall strike, from 1."""
    return range(1, num_concerned(fault, seen) + 1, every)


def main():
    """Write ``operations.csv`` and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--faults", nargs="+", default=list(FAULTS))
    parser.add_argument("--every", type=int, default=1, help="strike every nth only")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    import_all()
    table = Table(given.out / "operations.csv", COLUMNS, num_keys=2)
    with (given.out / "faults.txt").open("w") as log:
        for part in parts(given.out / "work", given.only):
            seen = part.learn_what_is_right()
            for name in given.faults:
                fault, counts = FAULTS[name], Counter()
                row = {"what": part.what, "fault": name, "operations": len(seen)}
                for nth in cases(fault, seen, given.every):
                    has_noticed, wrong = part.struck(fault, nth)
                    counts += Counter(cases=1, noticed=has_noticed, faults=len(wrong))
                    log.writelines(f"{one}\n" for one in wrong)
                    log.flush()
                    table.put({**row, **counts})
                print(row, dict(counts), flush=True)


if __name__ == "__main__":
    main()

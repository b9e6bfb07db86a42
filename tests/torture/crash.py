"""Runs and studies that are killed at random moments and resumed until they are done:
the digests must equal those of undisturbed runs.

``python -m tests.torture.crash --kills 200 --out DIR``
"""

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from netsim import load_run
from netsim.cli.main import main as netsim_main
from netsim.errors import InputError
from netsim.trace.schemas import SCHEMAS
from tests.torture.learned import import_all, new_cache
from tests.torture.shapes import seeded
from tests.torture.table import Table

UNICAST = (
    "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, mode: unicast, "
    "sharing: processor-sharing}"
)
DEADLINE = (
    "server={kind: deadline, deadline: 900 ms, announce_time: 1 ms, merge_time: 0 s, "
    "sampling: {kind: uniform, num_drawn: 4}}"
)
ASYNCHRONOUS = "server={kind: asynchronous, concurrency: 4, merge_time: 5 ms}"
BUFFERED = "server={kind: buffered, concurrency: 4, buffer_size: 2, merge_time: 5 ms}"
SERVERS = {
    "synchronous": (),
    "deadline": (DEADLINE,),
    "buffered": (BUFFERED, UNICAST, "cell.uplink.sharing=processor-sharing"),
    "asynchronous": (ASYNCHRONOUS, UNICAST, "cell.uplink.sharing=processor-sharing"),
}
NETWORK = ("stop={rounds: 300}", "population.num_clients=8")
LEARNING = (
    "stop={rounds: 4}",
    "population.num_clients=8",
    "learning.training.local_steps=2",
    "learning.cohort_size=3",
)
STUDY = """\
name: killed
scenario: network-only
overrides: [stop.rounds=40, population.num_clients=6]
axes: [{path: cell.uplink.band, values: [1 MHz, 2 MHz]}]
seeds: [1, 2]
baseline: {band: 1 MHz}
"""
COLUMNS = ("what", "by", "kills", "in time", "resumes", "faults", "seconds undisturbed")
GO_ON = re.compile(r"interrupted; go on with: netsim (.* --resume)")
SAME = "the same command"


@dataclass
class Bed:
    """A command that can be resumed, its arguments, and the folder of its files."""

    what: str
    words: tuple[str, ...]
    folder: Path  # of the run, or of the study
    cache: Path
    digests: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def clear(self):
        """Delete the runs and their learning, but keep the counted costs."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.cache / "netsim" / "store", ignore_errors=True)

    def learn_what_is_right(self):
        """Run undisturbed, twice: the second run finds all costs counted."""
        for _ in range(2):
            self.clear()
            start_s = time.monotonic()
            code, said = self.ended(self.begun())
            self.seconds = time.monotonic() - start_s
            assert code == 0, said
        self.digests = self.found_digests()

    def told_to_go_on(self, said):
        """Return the arguments of the command that resumes an interrupted one, as
        printed; nothing if none was printed."""
        found = GO_ON.search(said)
        if found:
            return (*shlex.split(found[1]), "--quiet")
        has_begun = any(self.folder.rglob("manifest.json"))
        return self.words if SAME in said or not has_begun else None

    def begun(self, words=None):
        """Start the command, or another one, in its own process group; return its
        id."""
        log = self.folder.with_suffix(".log")
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            return pid
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        _become(words or self.words, log, self.cache)
        raise AssertionError("a child does not come back")

    def ended(self, pid):
        """Return the exit code of a process, negative for a signal, and its output."""
        status = os.waitpid(pid, 0)[1]
        code = os.waitstatus_to_exitcode(status)
        return code, self.folder.with_suffix(".log").read_text(errors="replace")

    def found_digests(self):
        """Return the digest of every complete run below the folder."""
        found = {}
        for path in sorted(self.folder.rglob("manifest.json")):
            manifest = load_run(path.parent).manifest
            if manifest.status == "complete":
                found[path.parent.relative_to(self.folder).as_posix()] = manifest.digest
        return found

    def wrong_after_a_kill(self):
        """Return what cannot be read in the folders after a kill."""
        wrong = []
        for manifest in self.folder.rglob("manifest.json"):
            try:
                run = load_run(manifest.parent)
                for name in SCHEMAS:
                    run.table(name)
            except InputError as error:
                wrong.append(f"unreadable: {error}")
        return wrong

    def wrong_in_the_end(self):
        """Return the differences from an undisturbed run."""
        found, wrong = self.found_digests(), []
        if found != self.digests:
            wrong.append(f"digests {found}, not {self.digests}")
        for place in (self.folder, self.cache):
            drafts = [p for p in place.rglob(".*") if p.is_file()]
            wrong += [f"orphan {path}" for path in drafts if path.name != ".lock"]
        return wrong


def _become(words, log, cache):
    """Replace this process by the command, with its output in a file."""
    code = 1
    try:
        handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.environ["XDG_CACHE_HOME"] = str(cache)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        sys.argv = ["netsim", *words]
        netsim_main()
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def beds(folder, only=None):
    """Return a bed for every server without and with learning, and for a study."""
    found = []
    for scenario, settings in (("network-only", NETWORK), ("quickstart", LEARNING)):
        for server, more in SERVERS.items():
            what = f"{scenario} {server}"
            place = folder / what.replace(" ", "-")
            sets = [f"--set={override}" for override in (*settings, *more)]
            words = ("run", scenario, *sets, "--resume", "--quiet", "--out", str(place))
            found.append(Bed(what, words, place, folder / f"cache-{what}"))
    path = folder / "killed.yaml"
    path.write_text(STUDY)
    words = ("study", str(path), "--quiet", "--out", str(folder / "study"))
    found.append(Bed("study", words, folder / "study", folder / "cache-study"))
    for bed in found:
        new_cache(bed.cache)
    return [bed for bed in found if only is None or bed.what in only]


def killed_until_done(bed, rng, number=signal.SIGKILL):
    """Kill a command at one to three moments and resume it to its end; return the
    number of kills before the end, of resumes, and the faults."""
    bed.clear()
    counts, wrong, words = Counter(), [], bed.words
    for _ in range(rng.choice((1, 1, 2, 3))):
        pid = bed.begun()
        time.sleep(rng.uniform(0, bed.seconds))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        code, said = bed.ended(pid)
        counts["kills"] += 1
        counts["in time"] += code != 0
        wrong += bed.wrong_after_a_kill()
        if "Traceback" in said:
            wrong.append(said)
        if number != signal.SIGKILL and code not in (0, 130):
            wrong.append(f"exit code {code}: {said}")
        if code == 130:
            words = bed.told_to_go_on(said)
            wrong += [] if words else [f"no word on how to go on: {said}"]
    counts["resumes"] += 1
    code, said = bed.ended(bed.begun(words or bed.words))
    if code:
        wrong.append(f"resumed, exit code {code}: {said}")
    return counts, wrong + bed.wrong_in_the_end()


def main():
    """Write ``crash.csv`` and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--signal", default="SIGKILL")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    import_all()
    found = beds(given.out, given.only)
    share = -(-given.kills // len(found))
    table = Table(given.out / "crash.csv", COLUMNS, num_keys=2)
    with (given.out / "faults.txt").open("w") as log:
        for bed in found:
            bed.learn_what_is_right()
            counts, faults, attempt = Counter(), [], 0
            while counts["kills"] < share:
                rng = seeded(given.seed, bed.what, given.signal, attempt)
                more, wrong = killed_until_done(bed, rng, getattr(signal, given.signal))
                counts += more
                faults += wrong
                attempt += 1
                print(*wrong, sep="\n", end="", file=log, flush=True)
                table.put(
                    {"what": bed.what, "by": given.signal, **counts}
                    | {"faults": len(faults)}
                    | {"seconds undisturbed": round(bed.seconds, 2)}
                )
            print(bed.what, dict(counts), len(faults), "faults", flush=True)


if __name__ == "__main__":
    main()

"""Remembered learning: reused where nothing changed, never trusted when damaged."""

import errno
import fcntl
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from fl.federation.versions import StoredVersion
from fl.memory.files import DRAFT, cache_folder, remember
from fl.memory.store import Entry, Store
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario

pytestmark = pytest.mark.slow

SHORT = ("stop.rounds=3", "learning.training.local_steps=2")


def scenario(*overrides):
    return read_scenario(find_scenario("quickstart"), (*SHORT, *overrides))


def entry(number):
    return Entry({"n": number}, (np.full((2, 3), number, "<f4"),))


def test_an_entry_comes_back_as_it_was(tmp_path):
    store = Store(tmp_path)
    store.remember("ab" * 32, entry(7))
    found = store.recall("ab" * 32, dict[str, int])
    assert found.record == {"n": 7}
    assert found.arrays[0].tolist() == [[7.0] * 3] * 2
    assert store.recall("cd" * 32, dict[str, int]) is None


def test_an_entry_of_another_kind_is_absent(tmp_path, caplog):
    store = Store(tmp_path)
    store.remember("ab" * 32, entry(7))
    assert store.recall("ab" * 32, StoredVersion) is None
    assert "damaged" in caplog.text


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_entry_is_dropped_and_reported(damage, tmp_path, caplog):
    store = Store(tmp_path)
    store.remember("ab" * 32, entry(7))
    path, _ = store.files()[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    cut = {"flip": content, "truncate": content[:-9], "empty": b""}[damage]
    path.write_bytes(cut)
    assert store.recall("ab" * 32, dict[str, int]) is None
    assert "damaged" in caplog.text
    assert not path.exists()


def test_another_entrys_content_is_no_entry(tmp_path, caplog):
    store = Store(tmp_path)
    for key in ("ab" * 32, "cd" * 32):
        store.remember(key, entry(7))
    first, second = (path for path, _ in store.files())
    first.write_bytes(second.read_bytes())
    assert store.recall(first.parent.name + first.name, dict[str, int]) is None
    assert "damaged" in caplog.text
    assert store.recall(second.parent.name + second.name, dict[str, int]) is not None


def test_the_oldest_used_entries_leave_first(tmp_path):
    store = Store(tmp_path)
    keys = [f"{n:064x}"[::-1] for n in range(4)]
    for age, key in enumerate(keys):
        store.remember(key, entry(age))
        path = tmp_path / key[:2] / key[2:]
        os.utime(path, (age, age))
    assert store.recall(keys[0], dict[str, int]) is not None  # used again just now
    size = store.files()[0][1].st_size
    store.prune(2 * size)
    assert [store.recall(key, dict[str, int]) is not None for key in keys] == [
        True,
        False,
        False,
        True,
    ]


def test_another_users_entries_stay_where_they_cannot_be_changed(tmp_path, monkeypatch):
    """Root's entries are read; what they date from, and whether they go, is root's."""
    store = Store(tmp_path)
    store.remember("ab" * 32, entry(7))

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EPERM, "of another user")

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", refuse)
        patch.setattr(os, "unlink", refuse)
        assert store.recall("ab" * 32, dict[str, int]).record == entry(7).record
        assert store.prune(0) > 0
    assert store.prune(0) == 0


def test_an_entry_that_one_may_not_read_is_absent(tmp_path, monkeypatch):
    store, real = Store(tmp_path), os.open
    store.remember("ab" * 32, entry(7))

    def refuse(path, flags, *mode):
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise PermissionError(errno.EACCES, "of another user")
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    assert store.recall("ab" * 32, dict[str, int]) is None


def test_a_store_stays_within_its_limit(tmp_path):
    size = len(entry(0).pack()) + 65
    store = Store(tmp_path, limit_bytes=5 * size)
    for n in range(40):
        store.remember(f"{n:064x}"[::-1], entry(n))
    total = sum(status.st_size for _, status in store.files())
    assert 3 * size <= total <= 6 * size


def test_another_network_trains_nothing_and_loads_no_torch(own_store, tmp_path):
    first = run_scenario(scenario(), tmp_path / "first")
    assert first.steps_trained > 0
    code = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "import fl.memory.store\n"
        "fl.memory.store.default_folder = lambda: Path(sys.argv[1])\n"
        "from netsim.cosim.run import run_scenario\n"
        "from netsim.cosim.reading import read_scenario\n"
        "from netsim.cosim.shipped import find_scenario\n"
        "config = read_scenario(find_scenario('quickstart'), tuple(sys.argv[3:]))\n"
        "done = run_scenario(config, Path(sys.argv[2]))\n"
        "print(json.dumps([done.steps_trained, done.steps_reused, done.final,\n"
        "    done.adapter_digest, done.network_digest, 'torch' in sys.modules]))\n"
    )
    changes = (
        "cell.uplink.band=7 MHz",
        "cell.uplink.sharing=processor-sharing",
        "cell.path_loss={kind: log-distance, exponent: 3.1, reference_loss: 40 dB}",
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, own_store, tmp_path / "second", *SHORT, *changes],
        check=True,
        capture_output=True,
        text=True,
    )
    trained, reused, final, adapter, network, is_torch_loaded = json.loads(
        finished.stdout.splitlines()[-1]
    )
    assert (trained, reused) == (0, first.steps_trained)
    assert (final, adapter) == (first.final, first.adapter_digest)
    assert network != first.network_digest
    assert not is_torch_loaded


def test_reuse_and_training_give_the_same_digest(own_store, tmp_path):
    trained = run_scenario(scenario(), tmp_path / "a")
    reused = run_scenario(scenario(), tmp_path / "b")
    fresh = run_scenario(scenario(), tmp_path / "c", reuse=False)
    assert trained.digest == reused.digest == fresh.digest
    assert (reused.steps_trained, fresh.steps_reused) == (0, 0)


@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_a_store_with_holes_gives_the_same_digest(fraction, own_store, tmp_path):
    buffered = (
        "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms}",
        "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, "
        "mode: unicast, sharing: processor-sharing}",
        "cell.uplink.sharing=processor-sharing",
        "learning.cohort_size=4",
    )
    whole = run_scenario(scenario(*buffered), tmp_path / "a")
    files = [path for path, _ in Store(own_store).files()]
    for path in random.Random(1).sample(files, int(fraction * len(files))):
        path.unlink()
    again = run_scenario(scenario(*buffered), tmp_path / "b")
    assert again.digest == whole.digest


def test_a_draft_beside_the_store_goes_with_the_next_entry(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember("one", b"1")
    folder = cache_folder()
    old, young = folder / ".draft-old", folder / ".draft-young"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    remember("two", b"2")
    assert sorted(p.name for p in folder.iterdir()) == [".draft-young", "one", "two"]


def test_a_draft_goes_when_it_is_old_and_nobody_holds_it(tmp_path):
    store = Store(tmp_path)
    store.remember("ab" * 32, Entry({"n": 1}))
    young, old, held = (tmp_path / "ab" / f"{DRAFT}{n}" for n in range(3))
    for path in (young, old, held):
        path.write_bytes(b"half of it")
    for path in (old, held):
        os.utime(path, (1, 1))
    with open(held, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert len(store.files()) == 1
    assert [p.exists() for p in (young, old, held)] == [True, False, True]


PAUSED = """
import sys, time
from pathlib import Path
import fl.memory.files as files
from fl.memory.store import Entry, Store
checksum = files._checksum
def slow(path, payload):
    print("writing", flush=True)
    sys.stdin.readline()
    return checksum(path, payload)
files._checksum = slow
Store(Path(sys.argv[1])).remember("ab" * 32, Entry({"n": 7}))
"""


@pytest.mark.parametrize("namespace", [[], ["unshare", "--pid", "--fork"]])
def test_a_draft_being_written_survives_listing_and_pruning(namespace, tmp_path):
    """A container has process ids of its own; the host's name may be the same."""
    command = [*namespace, sys.executable, "-c", PAUSED, str(tmp_path)]
    if (
        namespace
        and subprocess.run([*namespace, "true"], capture_output=True).returncode
    ):
        pytest.skip("this user may not make a PID namespace")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as writer:
        assert writer.stdout.readline() == "writing\n"
        store = Store(tmp_path)
        assert list(store.files()) == []
        store.prune(0)
        writer.communicate("\n")
    assert writer.returncode == 0
    assert store.recall("ab" * 32, dict[str, int]).record == {"n": 7}


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match="cannot write to the cache") as refused:
        remember("facts.json", b"{}")
    assert refused.value.filename == str(tmp_path / "file" / "netsim")
    assert "XDG_CACHE_HOME" in refused.value.strerror

"""A file operation that fails costs one message, and nothing that was finished."""

from pathlib import Path

import pytest

from fl.peft_folders.folder import new_folder
from netsim.core.locks import LOCK_FILE
from tests.support.command import netsim
from tests.torture import operations, tracing

traces = pytest.mark.skipif(
    not tracing.can_trace(), reason="this machine lets no process be traced"
)
SHORT = ("kill", "EIO", "ENOSPC")


@traces
@pytest.mark.slow
def test_a_merge_outlives_a_fault_at_each_of_its_file_operations(tmp_path):
    (part,) = operations.parts(tmp_path, ["merge"])
    seen = part.learn_what_is_right()
    assert {"create", "write", "mkdir", "rename", "fsync"} <= {one.name for one in seen}
    noticed = []
    for name in SHORT:
        fault = tracing.FAULTS[name]
        for nth in operations.cases(fault, seen, every=2):
            has_noticed, wrong = part.struck(fault, nth)
            assert wrong == []
            noticed.append(has_noticed)
    assert sum(noticed) >= 0.8 * len(noticed)


@traces
def test_a_loss_of_power_takes_no_name_of_a_study(tmp_path):
    (part,) = operations.parts(tmp_path, ["study"])
    seen = part.learn_what_is_right()
    assert part.forgotten(seen) == []
    without = [one for one in seen if one.name != "fsync"]
    assert len(part.forgotten(without)) > 20


FILLED = "is not empty; choose another folder"


@pytest.mark.parametrize("is_deep", [False, True])
def test_of_two_merges_into_one_folder_the_first_to_end_is_kept(is_deep, tmp_path):
    """On any file system: no lock is asked for."""
    out, busy = tmp_path / "out", pytest.raises(ValueError, match=FILLED)
    with busy, new_folder(out) as late:
        with new_folder(out) as draft:
            (draft / "theirs").touch()
        if is_deep:  # the first has removed this draft by now
            (late / "below" / "mine").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_a_merge_that_ends_at_the_last_moment_is_not_written_over(
    tmp_path, monkeypatch
):
    out, busy = tmp_path / "out", pytest.raises(ValueError, match=FILLED)
    rename = Path.rename

    def late(draft, path):
        if path == out and not out.exists():
            out.mkdir()
            (out / "theirs").touch()
        return rename(draft, path)

    monkeypatch.setattr(Path, "rename", late)
    with busy, new_folder(out) as draft:
        (draft / "mine").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_what_a_killed_merge_left_goes_and_other_drafts_stay(tmp_path):
    for name in (".out.1a2b3c4d.unfinished", ".out2.1a2b3c4d.unfinished"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "old").touch()
    with new_folder(tmp_path / "out") as draft:
        (draft / "new").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".out2.1a2b3c4d.unfinished",
        "out",
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


def test_a_folder_that_was_filled_meanwhile_is_not_replaced(tmp_path):
    out = tmp_path / "out"

    def merge():
        with new_folder(out) as draft:
            (draft / "new").touch()
            out.mkdir()
            (out / "theirs").touch()

    with pytest.raises(ValueError, match="is not empty"):
        merge()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_a_study_clears_the_lock_of_a_finished_run(tmp_path):
    (tmp_path / "study.yaml").write_text(operations.STUDY)
    words = ("study", tmp_path / "study.yaml", "--quiet", "--out", tmp_path / "out")
    assert netsim(*words) == 0
    (finished, *_) = (tmp_path / "out").glob("runs/*/*")
    (finished / LOCK_FILE).write_text("{}")
    assert netsim(*words) == 0
    assert not list(tmp_path.rglob(LOCK_FILE))


def test_a_search_clears_the_locks_of_a_killed_one(tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "tune.yaml").write_text(operations.TUNE)
    words = ("tune", tmp_path / "tune.yaml", "--quiet", "--out", tmp_path / "out")
    assert netsim(*words) == 0
    journal = tmp_path / "out" / "trials.journal"
    for name in (".lock", ".lock0.rename"):
        journal.with_name(journal.name + name).symlink_to(journal)
    assert netsim(*words) == 0  # at once: Optuna would wait for half a minute
    assert not list(tmp_path.rglob("trials.journal.*"))

"""A file operation that fails costs one message, and nothing that was finished."""

import errno
import os

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
    assert {"create", "write", "mkdir", "rename", "flock"} <= {one.name for one in seen}
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


def test_two_merges_do_not_write_one_draft(tmp_path):
    out = tmp_path / "out"
    with new_folder(out) as draft:
        (draft / "mine").touch()
        with (
            pytest.raises(ValueError, match="another process is merging into"),
            new_folder(out),
        ):
            pass
        assert (draft / "mine").exists()
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_two_merges_do_not_write_one_draft_without_locks(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    out, draft = tmp_path / "out", tmp_path / ".out.unfinished"
    with new_folder(out) as mine:
        (mine / "mine").touch()
        with (
            pytest.raises(ValueError, match=f"if none is, delete {draft}"),
            new_folder(out),
        ):
            pass
    assert [path.name for path in out.iterdir()] == ["mine"]
    assert not draft.exists()


def test_a_merge_that_ends_meanwhile_is_not_written_over(tmp_path, monkeypatch):
    """Its draft is renamed after another has found it, before that can hold it."""
    out, draft = tmp_path / "out", tmp_path / ".out.unfinished"
    draft.mkdir()
    (draft / "theirs").touch()
    real = os.open

    def late(path, *how):
        if path == draft and draft.exists():
            draft.rename(out)
        return real(path, *how)

    monkeypatch.setattr(os, "open", late)
    busy = pytest.raises(ValueError, match="another process is merging into")
    with busy, new_folder(out):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_what_a_killed_merge_left_is_replaced(tmp_path):
    (tmp_path / ".out.unfinished" / "below").mkdir(parents=True)
    (tmp_path / ".out.unfinished" / "old").touch()
    with new_folder(tmp_path / "out") as draft:
        (draft / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


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

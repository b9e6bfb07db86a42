"""A disk in trouble costs one message and nothing that was finished."""

import os
import subprocess
import tempfile

import pytest

from tests.torture import disk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    return disk.right_digest(tmp_path_factory.mktemp("right") / "run")


def may_mount(folder):
    if not hasattr(os, "geteuid") or os.geteuid():
        return False
    try:
        with disk.small_disk(folder):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def test_places_that_no_run_may_have_are_refused(tmp_path):
    rows = list(disk.refused_places(tmp_path))
    assert len(rows) == 4
    assert [row["fault"] for row in rows] == [""] * 4


def test_a_part_that_vanished_is_named_and_comes_back(tmp_path, digest):
    row = disk.vanished_part(tmp_path, digest)
    assert row["fault"] == ""
    assert "trace/rounds/part-00000.parquet" in row["message"]


@pytest.mark.parametrize("trouble", disk.troubles(), ids=lambda one: one.what)
def test_a_run_goes_on_when_the_disk_is_well_again(trouble, tmp_path, digest):
    if not may_mount(tmp_path / "probe"):
        pytest.skip("this user may not mount a disk")
    assert disk.suffered(trouble, tmp_path / "disk", digest)["fault"] == ""


def test_the_second_process_in_a_folder_is_told_who_holds_it(tmp_path, digest):
    row = disk.held_by_another(tmp_path, digest)
    assert (row["exit code"], row["fault"]) == (2, "")


def test_a_folder_that_one_may_not_write_is_named_and_lost_is_nothing(digest):
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as folder:  # others see no folder of pytest's
        os.chmod(folder, 0o755)
        found = list(disk.forbidden(disk.Path(folder) / "forbidden", digest))
    assert [(row["exit code"], row["fault"]) for row in found] == [(2, "")] * 2
    assert all("Permission denied" in row["message"] for row in found)

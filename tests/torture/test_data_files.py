"""Data files that are damaged, hostile or of another kind are refused by name."""

import pytest

from tests.torture import data_files

pytestmark = pytest.mark.slow

READERS = data_files.right_files()
FEW = 6


@pytest.mark.parametrize("reader", READERS)
def test_a_right_file_is_read(reader, tmp_path):
    name, right = READERS[reader]
    verdict = data_files.judged_content(reader, name, right, tmp_path)
    assert (verdict.code, verdict.fault) == (0, "")


@pytest.mark.parametrize("reader", READERS)
def test_wrong_files_are_read_or_refused_by_name(reader, tmp_path):
    name, right = READERS[reader]
    counts, faults, _ = data_files.torment(reader, name, right, 7, FEW, tmp_path)
    assert faults == []
    assert counts["refused"] >= len(data_files.hostile_contents()) - 8
    assert counts["named"] >= counts["refused"] - FEW

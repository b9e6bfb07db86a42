"""Runs whose files rot are read where they are intact, and named where not."""

import shutil

import pytest
from torture import bit_rot
from torture.judging import judged

FEW = 2


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return bit_rot.sound_runs(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("damage", bit_rot.DAMAGES)
def test_no_reader_is_fooled_by_a_damaged_file(damage, sound, tmp_path):
    counts, faults = bit_rot.torment(sound, damage, 5, FEW, tmp_path / "copy")
    assert faults == []
    assert counts["verify"] >= counts["cases"] > 0


def test_a_sound_run_passes_every_probe(sound, tmp_path):
    answers = bit_rot.probed(sound, sound.folder)
    assert answers.pop("verify") == ("fault", "verify calls it sound")
    assert set(answers.values()) == {("worked", "")}


@pytest.mark.parametrize("content", [b"\xe6\x00", b"[" * 5000, b"- 1\n", b"a: b: c"])
def test_a_scenario_that_is_none_any_more_is_named(content, sound, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(sound.folder, run)
    (run / "scenario.yaml").write_bytes(content)
    verdict = judged("verify", run, allowed=(1,))
    assert verdict.fault == ""
    assert verdict.printed.startswith("files, scenario.yaml: ")

"""Runs whose files rot are read where they are intact, and named where not."""

import os
import shutil

import pytest

from tests.torture import bit_rot, run_rot
from tests.torture.judging import judged

pytestmark = pytest.mark.slow

FEW = 2


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return run_rot.sound_run(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("damage", bit_rot.DAMAGES)
def test_no_reader_is_fooled_by_a_damaged_file(damage, sound, tmp_path):
    counts, faults = bit_rot.torment(sound, damage, 5, FEW, tmp_path / "copy")
    assert faults == []
    assert counts["verify"] >= counts["cases"] > 0


def test_a_sound_run_passes_every_probe(sound, tmp_path):
    answers = sound.probed(sound.folder)
    assert answers.pop("verify") == ("fault", "verify calls it sound")
    assert set(answers.values()) == {("worked", "")}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="readers are forked")
@pytest.mark.parametrize("what", ["store", "adapter"])
def test_no_run_is_fooled_by_what_others_left(what, tmp_path):
    sound = bit_rot.SOUND[what](tmp_path)
    shutil.copytree(sound.folder, tmp_path / "copy", dirs_exist_ok=True)
    answers = sound.probed(tmp_path / "copy")
    must_say_so = ("verify", "resume") if what == "adapter" else ()
    for reader, answer in answers.items():
        assert (answer == ("worked", "")) == (reader not in must_say_so)
    for damage in ("flip", "swap"):
        counts, faults = bit_rot.torment(sound, damage, 1, 1, tmp_path / "copy")
        assert faults == []
        assert counts["cases"] == 1


@pytest.mark.parametrize("content", [b"\xe6\x00", b"[" * 5000, b"- 1\n", b"a: b: c"])
def test_a_scenario_that_is_none_any_more_is_named(content, sound, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(sound.folder, run)
    (run / "scenario.yaml").write_bytes(content)
    verdict = judged("verify", run, allowed=(1,))
    assert verdict.fault == ""
    assert verdict.printed.startswith("files, scenario.yaml: ")

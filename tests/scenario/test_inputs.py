"""A run remembers what the files outside were that its scenario names."""

import pytest
from typer.testing import CliRunner

from netsim.cli.main import app
from netsim.cosim import inputs
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.runs.manifest import code_in, has_known_code, read_manifest


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "marks.up"
    path.write_text("1\n2\n3\n4\n")
    return path


def scenario_on(path):
    radio = f"{{kind: measured, path: {path}, reference_band: 5 MHz}}"
    return read_scenario(
        find_scenario("network-only"), (f"cell.uplink.radio={radio}", "stop.rounds=1")
    )


def test_a_run_lists_its_inputs(trace, tmp_path):
    run_scenario(scenario_on(trace), tmp_path / "run")
    listed = read_manifest(tmp_path / "run").inputs
    files = [path for path in listed if path not in code_in(listed)]
    assert files == [str(trace)]
    assert {"netsim/server/rounds.py", "netsim/channel/radio.py"} <= set(listed)
    assert "netsim/server/buffered.py" not in listed  # another server's
    assert has_known_code(read_manifest(tmp_path / "run"))
    assert inputs.changed(read_manifest(tmp_path / "run")) == []


def test_a_changed_input_is_named_by_resume_and_replay(trace, tmp_path):
    folder = tmp_path / "run"
    run_scenario(scenario_on(trace), folder)
    trace.write_text("1\n2\n3\n5\n")
    with pytest.raises(InputError, match=r"marks\.up is no longer what it was"):
        run_scenario(scenario_on(trace), folder, resume=True)
    told = CliRunner().invoke(app, ["replay", str(folder)])
    assert told.exit_code == 1
    assert "marks.up is no longer what it was when the run was made" in told.output


def test_an_unfinished_run_starts_over_with_the_input_of_today(trace, tmp_path):
    folder = tmp_path / "run"
    done = run_scenario(scenario_on(trace), folder)
    done.model_copy(update={"status": "interrupted"}).write(folder)
    trace.write_text("1\n2\n3\n5\n")
    again = run_scenario(scenario_on(trace), folder, resume=True)
    assert again.status == "complete"
    assert again.inputs != done.inputs


def test_folders_have_digests(tmp_path):
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "weights"
    weights.write_bytes(bytes(100))
    before = inputs._digest(tmp_path / "model")
    for place in (0, 50, 95):
        content = bytearray(100)
        content[place] = 1
        weights.write_bytes(content)
        assert inputs._digest(tmp_path / "model") != before


def test_all_of_a_very_large_file_counts(own_cache, tmp_path):
    path = tmp_path / "weights"
    with open(path, "wb") as file:
        file.truncate(65 * 2**20)
    before = inputs._digest(path)
    with open(path, "r+b") as file:
        file.seek(33 * 2**20)
        file.write(b"x")
    assert inputs._digest(path) != before

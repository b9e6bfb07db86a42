"""The script that measures an accelerator, tried on the CPU."""

import csv

import pytest

from tests.benchmarks import gpu

pytestmark = pytest.mark.slow


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """The table of a try with two sizes of cohorts, and one turn."""
    monkeypatch.setattr(gpu, "COHORTS", (1, 3))
    monkeypatch.setattr(gpu, "NUM_REPEATS", 1)

    def made(*more):
        path = tmp_path / "gpu.csv"
        gpu.main(["--device", "cpu", "--small", "--csv", str(path), *more])
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    return made


def test_every_row_is_measured_or_says_why_not(rows, capsys):
    found = rows()
    assert [(row["model"], row["clients"]) for row in found] == [
        (model, clients) for model in gpu.SMALL_CASES for clients in ("4", "1", "3")
    ]
    assert {row["status"] for row in found} == {"measured"}
    assert all(float(row["ms_per_step"]) > 0 for row in found)
    assert [float(row["ratio"]) for row in found if "peft" in row["way"]] == [1.0, 1.0]
    assert "tiny Llama, float64: 0.0e+00 from the CPU's adapters" in (
        capsys.readouterr().out
    )


def test_what_the_time_does_not_allow_is_left_out(rows, monkeypatch):
    monkeypatch.setattr(gpu, "largest_gap", lambda *given: 0.0)
    assert {row["status"] for row in rows("--limit-s", "0")} == {"left out: no time"}


def test_a_wrong_device_is_told_apart(rows, monkeypatch):
    monkeypatch.setattr(gpu, "largest_gap", lambda *given: 0.1)
    with pytest.raises(SystemExit, match="trains wrongly"):
        rows()

"""Predicted against observed steps, held against the committed table."""

from typer.testing import CliRunner

from netsim.cli import validating
from netsim.cli.main import app
from netsim.devices.validation import committed_errors, comparisons, worse

ROWS = comparisons()


def test_no_prediction_became_worse_than_committed():
    assert not worse(ROWS, committed_errors())


def test_a_worse_a_new_and_a_missing_comparison_are_told():
    committed = {row.key: row.error for row in ROWS}
    first, second, third, *_ = ROWS
    slow = first._replace(predicted_s=first.observed_s * first.error * 1.06)
    near = second._replace(predicted_s=second.observed_s * second.error * 1.04)
    new = third._replace(setting="another")
    found = worse([slow, near, new, *ROWS[3:]], committed)
    assert [line.rpartition(": ")[2][:12] for line in found] == [
        f"error {slow.error:.3f},"[:12],
        "not in the c",
        "no longer co",
    ]


def test_fitted_devices_err_little_on_settings_left_out():
    left_out = [row for row in ROWS if row.role == "left out"]
    assert len(left_out) > 100
    inside = [row for row in left_out if row.error <= 1.25]
    assert len(inside) / len(left_out) > 0.85


def test_the_command_fails_where_an_error_grew(monkeypatch):
    better = {row.key: row.error / 1.06 for row in ROWS}
    monkeypatch.setattr(validating, "committed_errors", lambda: better)
    result = CliRunner().invoke(app, ["validate"])
    assert result.exit_code == 1
    assert f"error {ROWS[0].error:.3f}, committed" in result.output


def test_the_command_prints_each_device_and_writes_the_table(tmp_path):
    out = tmp_path / "table.csv"
    result = CliRunner().invoke(app, ["validate", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "raspberry-pi-4-fedadapter" in result.output
    assert committed_errors(out) == {row.key: float(f"{row.error:.3f}") for row in ROWS}

"""An audit loads no class of a user's own, and names the columns that only it gives."""

from netsim.verify import audit
from tests.support.command import netsim
from tests.support.hostile import unloaded

SAMPLER = '''\
from typing import ClassVar

from netsim.policy import FullParticipation


class Everybody(FullParticipation):
    """Everybody."""

    kind: ClassVar[str] = "everybody"
'''


def test_columns_of_a_users_sampler_are_named_as_not_computed(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "everybody.py").write_text(SAMPLER)
    monkeypatch.chdir(tmp_path)
    words = ("--set", "stop.rounds=2", "--set", "server.sampling=everybody:Everybody")
    with unloaded("everybody"):
        assert netsim("run", "network-only", *words, "--out", "run", "--quiet") == 0
    (tmp_path / "everybody.py").write_text("raise SystemExit(7)")
    with unloaded("everybody"):
        capsys.readouterr()
        assert netsim("verify", "run") == 0
        found = audit("run")
    why = "everybody:Everybody is a user's class, which an audit does not load"
    columns = {one.columns for one in found.skipped if one.reason == why}
    assert "tasks.client_id, weight; events `away or busy`" in columns
    assert "plans.round_id, sampling_probability" in columns
    assert "estimates" not in columns
    assert "tasks.compute_flop, compute_end_ns" not in columns
    lines = capsys.readouterr().out.splitlines()
    for one in found.skipped:
        assert f"not computed again: {one}" in lines

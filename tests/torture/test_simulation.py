"""A short form of the simulated histories, which follow from their seed."""

import contextlib

import pytest

from netsim.core.lock_holder import Holder
from tests.torture import simulation
from tests.torture.simulation import KILLS, LOCKS, History, play


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("granted", LOCKS)
def test_histories_end_in_order(tmp_path, granted, kills):
    histories = [play(seed, tmp_path / "work", granted, kills) for seed in range(12)]
    assert [history.faults for history in histories if history.faults] == []
    assert sum(history.counts["held"] for history in histories) > 12


def test_a_seed_brings_back_the_same_history(tmp_path):
    first = play(7, tmp_path / "work", "now and then", "some").machine.log
    assert play(7, tmp_path / "work", "now and then", "some").machine.log == first


def test_a_lock_that_locks_nothing_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "locked", lambda *_, **__: contextlib.nullcontext())
    faults = [
        play(seed, tmp_path / "work", "granted", "none").faults for seed in (1, 2)
    ]
    assert any("inside" in fault for found in faults for fault in found)


def test_a_lock_of_the_dead_that_stays_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(Holder, "is_gone", False)
    found = [
        History(seed, tmp_path / "work", grants=0.0, kill_chance=0.02).play()
        for seed in range(20)
    ]
    assert any("held by nobody" in one for history in found for one in history.faults)

"""Sketched ranks from scenario to trace: bits, FLOP and what really trains."""

import pytest

from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.verify import verify

SHORT = ("stop.rounds=2", "learning.training.local_steps=2")
LORA_NUMBERS_PER_RANK, HEAD_NUMBERS, FULL_RANK = 768, 650, 8


def run(folder, *overrides):
    config = read_scenario(find_scenario("quickstart"), (*SHORT, *overrides))
    run_scenario(config, folder, reuse=False)
    assert verify(folder) == []
    return load_run(folder)


def test_sketched_clients_send_the_bits_that_moved(tmp_path):
    tasks = run(tmp_path, "ranks={kind: fixed, rank: 2}").tasks
    assert set(tasks["rank"]) == {2}
    assert set(tasks.upload_bits) == {32 * (2 * LORA_NUMBERS_PER_RANK + HEAD_NUMBERS)}
    full_bits = 32 * (FULL_RANK * LORA_NUMBERS_PER_RANK + HEAD_NUMBERS)
    assert set(tasks.download_bits) == {full_bits + FULL_RANK}  # and the indices


def test_tiers_follow_the_device(tmp_path):
    ranks = "ranks={kind: tiered, tiers: [{device: jetson-nano, rank: 3}]}"
    found = run(tmp_path, ranks)
    tasks = found.tasks.merge(found.clients[["client_id", "device"]], on="client_id")
    by_device = tasks.groupby("device", observed=True)["rank"].unique()
    assert by_device["jetson-nano"].tolist() == [3]
    assert by_device["raspberry-pi-5"].tolist() == [FULL_RANK]
    assert (found.plans["rank"].isin([3, FULL_RANK])).all()


def test_a_lower_rank_computes_less_and_learns_something_else(tmp_path):
    low = run(tmp_path / "low", "ranks={kind: fixed, rank: 2}")
    full = run(tmp_path / "full")
    assert low.tasks.compute_flop.iloc[0] < full.tasks.compute_flop.iloc[0]
    assert low.manifest.adapter_digest != full.manifest.adapter_digest


@pytest.mark.parametrize("layer", ["use_dora: true", "peft_type: hira"])
def test_a_sketch_of_other_layers_is_refused(layer):
    overrides = ("ranks={kind: fixed, rank: 2}", f"learning.lora={{{layer}}}")
    with pytest.raises(InputError, match="ranks: a sketch needs plain LoRA"):
        read_scenario(find_scenario("quickstart"), overrides)


@pytest.mark.parametrize("layer", ["use_dora: true", "peft_type: hira"])
def test_other_layers_run_whole(layer, tmp_path):
    found = run(tmp_path, f"learning.lora={{r: 8, lora_alpha: 16, {layer}}}")
    assert found.evals.accuracy.between(0, 1).all()


def test_ranks_follow_memory(tmp_path):
    """The highest rank that fits; a device that fits none is named."""
    facts = known("learning.lora.r=8")
    needs = [facts.memory_at(rank) for rank in range(1, 9)]
    assert needs == sorted(needs)
    boards = ", ".join(
        f"{{device: {{name: board-{rank}, peak: 3 GFLOP/s, efficiency: 1, "
        f"memory: {needs[rank - 1]} B, compute_power: 3 W, idle_power: 1 W}}}}"
        for rank in (3, 8)
    )
    overrides = (f"population.devices=[{boards}]", "server.sampling=full")
    with pytest.raises(InputError, match="board-3 has"):
        run(tmp_path / "full", *overrides)
    found = run(tmp_path / "by-memory", *overrides, "ranks=by-memory")
    tasks = found.tasks.merge(found.clients[["client_id", "device"]], on="client_id")
    by_device = tasks.groupby("device", observed=True)["rank"].unique()
    assert by_device["board-3"].tolist() == [3]
    assert by_device["board-8"].tolist() == [8]
    small = boards.replace(f"memory: {needs[2]} B", f"memory: {needs[0] - 1} B")
    with pytest.raises(InputError, match=r"population\.devices: board-3 has"):
        run(tmp_path / "none", f"population.devices=[{small}]", "ranks=by-memory")


def known(*overrides):
    """Return a learner that knows what training needs."""
    config = read_scenario(find_scenario("quickstart"), overrides)
    return config.learning.known_learner(20, 1, may_count=True)

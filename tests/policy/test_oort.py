"""Oort: by losses, with new clients among them, and audited."""

import numpy as np
import pytest
import yaml

from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.policy.context import Context, Seen
from netsim.policy.oort import Oort, _with_bonus
from netsim.verify import verify

WEIGHTS = np.array([0.1, 0.1, 0.2, 0.2, 0.2, 0.2])


def drawn(oort, seen, *, round_id=2, seed=0):
    context = Context(
        round_id=round_id,
        rng=np.random.default_rng(seed),
        data_weights=WEIGHTS,
        version="v",
        device=str,
        cell=int,
        seen=seen,
    )
    return oort.draw(context)


def losses(*values):
    return {n: Seen(1, value, 1.0) for n, value in enumerate(values)}


def test_the_first_round_draws_new_clients_who_weigh_by_their_data():
    found = [drawn(Oort(num_drawn=2), {}, round_id=1, seed=n) for n in range(300)]
    counts = np.bincount([n for one in found for n in one.client_ids], minlength=6)
    assert abs(counts / 300 - 1 / 3).max() < 0.1
    for one in found:
        own = WEIGHTS[list(one.client_ids)]
        assert one.weights == tuple(own / own.sum())


def test_the_part_of_new_clients_falls_to_its_least():
    oort = Oort(num_drawn=4, exploration=0.5, decay=0.5, least_exploration=0.25)
    known = {n: Seen(1, 1.0, 1.0) for n in range(4)}
    for round_id, num_new in ((1, 2), (2, 1), (9, 1)):
        ids = drawn(oort, known, round_id=round_id).client_ids
        assert len(set(ids) & {4, 5}) == num_new
        assert len(ids) == 4


def test_the_highest_products_of_data_and_loss_are_drawn():
    oort = Oort(num_drawn=2, exploration=0.0, least_exploration=0.0)
    seen = losses(5.0, 5.0, 0.1, 9.0, 0.1, 8.9)
    assert {drawn(oort, seen, seed=n).client_ids for n in range(50)} == {(3, 5)}
    seen[0] = Seen(1, None, 1.0)  # not told: new
    explores = Oort(num_drawn=2, exploration=0.5, decay=1.0)
    ids = [drawn(explores, seen, seed=n).client_ids for n in range(50)]
    assert {one[0] for one in ids} == {0}
    assert {one[1] for one in ids} <= {3, 5}


def test_negative_losses_of_a_loss_of_ones_own_count_as_zero():
    oort = Oort(num_drawn=2, exploration=0.0, least_exploration=0.0)
    below = drawn(oort, losses(-1.0, -2.0, -3.0, -4.0, -5.0, -6.0))
    assert below == drawn(oort, losses(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))


def test_a_utility_is_clipped_and_rises_with_its_age():
    utilities = np.array([1.0, 2.0, 4.0, 100.0])
    found = _with_bonus(utilities, np.array([9.0, 9.0, 1.0, 9.0]), 10)
    top = np.quantile(utilities, 0.95)
    bonus = np.sqrt(0.1 * np.log(10) / np.array([9, 9, 1, 9]))
    assert found == pytest.approx(np.minimum(utilities, top) / top + bonus)


def test_more_than_there_are_is_refused():
    with pytest.raises(InputError, match="must not exceed the 6 clients, got 7"):
        drawn(Oort(num_drawn=7), {})


def scenario(tmp_path, *overrides):
    """Two cells whose clients learn; more are drawn than merged."""
    document = yaml.safe_load(find_scenario("hierarchical").read_text())
    learned = yaml.safe_load(find_scenario("quickstart").read_text())["learning"]
    document["learning"] = learned
    path = tmp_path / "two-cells.yaml"
    path.write_text(yaml.safe_dump(document))
    small = ("population.num_clients=8", "learning.training.local_steps=1")
    method = ("learning.aggregation=fedit", "stop={rounds: 4}")
    return read_scenario(path, (*small, *method, *overrides))


OORT = "{kind: oort, num_drawn: 4, exploration: 0.5, decay: 0.7}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "server",
    [
        "{kind: synchronous, merge_first: 3, announce_time: 0 s, merge_time: 0 s, ",
        "{kind: hierarchical, edge_rounds: 2, announce_time: 0 s, merge_time: 0 s, "
        "cloud_merge_time: 0 s, ",
    ],
)
def test_over_selection_and_cells_with_an_audit_of_the_draws(
    server, own_cache, tmp_path
):
    chosen = f"server={server}sampling: {OORT}}}"
    config = scenario(tmp_path, chosen)
    first = run_scenario(config, tmp_path / "run")
    again = run_scenario(config, tmp_path / "again")
    assert (again.digest, again.steps_trained) == (first.digest, 0)
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    assert len(run.updates) == run.tasks["merged_round_id"].notna().sum()
    assert (run.updates["loss"] > 0).all()
    assert run.updates["epsilon"].isna().all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("learning={kind: none, download: 1 B, upload: 1 B, compute: 0 FLOP}",), "no"),
        (("learning.local_training={kind: dp-sgd, max_norm: 1}",), "leaves a client"),
    ],
)
def test_without_losses_it_is_refused(overrides, message):
    sampling = f"server.sampling={OORT}"
    with pytest.raises(InputError, match=message):
        read_scenario(find_scenario("quickstart"), (sampling, *overrides))

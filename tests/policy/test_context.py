"""Samplers that ask for more than weights and a stream: round robin, and by losses."""

from typing import ClassVar

import numpy as np
import pytest

from netsim import load_run
from netsim.band import Terms
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.policy import Drawn
from netsim.policy.context import Context, Seen
from netsim.policy.full import FullParticipation
from netsim.policy.sampler import drawn_by
from netsim.sharing.rule import PerRound
from netsim.verify import verify

NOTES = []


class RoundRobin(FullParticipation):
    """Two clients after the other, in the order of their ids."""

    kind: ClassVar[str] = "round-robin"

    def draw(self, data_weights, round_id):
        first = 2 * (round_id - 1)
        ids = sorted((first + i) % len(data_weights) for i in range(2))
        return Drawn(tuple(ids), (0.5, 0.5))


class HighestLosses(FullParticipation):
    """All clients first, then the two whose last loss was the highest."""

    kind: ClassVar[str] = "highest-losses"

    def draw(self, context):
        NOTES.append(context)
        seen = dict(context.seen)
        ids = sorted(seen, key=lambda one: -seen[one].loss)[:2]
        ids = sorted(ids) or range(len(context.data_weights))
        return Drawn(tuple(ids), (1 / len(ids),) * len(ids))


class Watches(FullParticipation):
    kind: ClassVar[str] = "watches"

    def draw(self, data_weights, rng, context):
        NOTES.append(context)
        return super().draw(data_weights, rng)


class Misspelt(FullParticipation):
    kind: ClassVar[str] = "misspelt"

    def draw(self, data_weights, round_ids):
        raise AssertionError


def played(name, folder, scenario, *overrides):
    sampling = f"server.sampling={__name__}:{name}"
    config = read_scenario(find_scenario(scenario), (sampling, *overrides))
    run_scenario(config, folder)
    return load_run(folder)


def test_a_round_robin_knows_the_number_of_its_round(tmp_path):
    small = ("population.num_clients=4", "stop.rounds=3")
    tasks = played("RoundRobin", tmp_path / "run", "network-only", *small).tasks
    drawn = tasks.groupby("round_id")["client_id"].apply(list)
    assert drawn.tolist() == [[0, 1], [2, 3], [0, 1]]
    assert verify(tmp_path / "run") == []


def test_an_argument_that_no_context_has_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"'round_ids' in draw, did you mean 'round_i"):
        played("Misspelt", tmp_path / "run", "network-only")
    with pytest.raises(InputError, match=r":Misspelt asks for 'round_ids'"):
        drawn_by(Misspelt(), context())


def context():
    return Context(
        round_id=1,
        rng=np.random.default_rng(0),
        data_weights=np.ones(2) / 2,
        version="v",
        device=str,
        cell=int,
        seen={},
    )


def test_a_sampler_of_weights_and_stream_is_told_just_these():
    assert drawn_by(FullParticipation(), context()).client_ids == (0, 1)


@pytest.mark.slow
def test_the_last_losses_decide_who_takes_part(own_cache, tmp_path):
    """Equal where all is learned and where all is remembered, and known to nobody
    where nothing is learned."""
    NOTES.clear()
    small = (
        *("population.num_clients=4", "stop.rounds=3"),
        *("learning.training.local_steps=1", "learning.aggregation=fedit"),
    )
    first = played("HighestLosses", tmp_path / "one", "quickstart", *small)
    again = played("HighestLosses", tmp_path / "two", "quickstart", *small)
    assert again.manifest.steps_trained == 0
    assert again.manifest.digest == first.manifest.digest
    drawn = first.tasks.groupby("round_id")["client_id"].apply(set)
    assert drawn[1] == {0, 1, 2, 3}
    seen = dict(NOTES[1].seen)  # of the whole run: the same mapping throughout
    assert {one.round_id for one in seen.values()} == {1, 3}
    assert all(one.loss > 0 and one.norm2 > 0 for one in seen.values())
    assert len(drawn[2]) == 2
    assert NOTES[0].cell(0) == 0
    assert NOTES[0].device(0) in set(first.clients["device"])


def test_without_learning_only_the_round_is_seen(tmp_path):
    NOTES.clear()
    small = ("population.num_clients=2", "stop.rounds=2")
    played("Watches", tmp_path / "run", "network-only", *small)
    assert dict(NOTES[0].seen) == {one: Seen(2, None, None) for one in range(2)}


class ByLosses(PerRound):
    """Weights by the last losses, and notes what it is told."""

    kind: ClassVar[str] = "by-losses"

    def reserve(self, expected, seen, round_id, device, rng):
        NOTES.append((round_id, dict(seen), rng.random()))
        return {
            one.client_id: Terms(weight=1 + len(device(one.client_id)))
            for one in expected
        }


def test_a_rule_of_rounds_is_told_of_rounds_devices_and_what_was_seen(tmp_path):
    NOTES.clear()
    small = ("population.num_clients=2", "stop.rounds=2")
    sharing = f"cell.uplink.sharing={__name__}:ByLosses"
    played("Watches", tmp_path / "run", "network-only", *small, sharing)
    told = [one for one in NOTES if isinstance(one, tuple)]
    assert [round_id for round_id, _, _ in told] == [1, 2]
    assert told[0][1] == {}
    assert told[1][1] == {one: Seen(1, None, None) for one in range(2)}
    assert told[0][2] != told[1][2]

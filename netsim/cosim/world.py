"""A scenario put on the stage: bands, clients, learner and server of one run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from netsim.band import SharedBand
from netsim.cosim.scenario import Scenario
from netsim.cosim.steering import build_planner
from netsim.device import Device
from netsim.engine import Engine
from netsim.population import Population
from netsim.protocol.learner import Learner, first_job
from netsim.protocol.stage import Progress, Stage
from netsim.trace.rows import Capacity

if TYPE_CHECKING:
    from netsim.trace.writer import Recorder

CELL_ID = 0


def build_population(scenario: Scenario, learner: Learner) -> Population:
    """Return the drawn fleet, each device able to hold the training."""
    population = Population(
        scenario.population,
        scenario.cell,
        seed=scenario.seed,
        num_samples=learner.num_samples,
    )
    if scenario.policy is None or not scenario.policy.decides_ranks:
        population.fleet.require_memory(partial(_needed_bytes, scenario, learner))
    job = first_job(learner)
    population.radio_map.require_audible("down", sum(learner.bits_down(job, None)))
    population.radio_map.require_audible("up", learner.bits_up(job))
    return population


def _needed_bytes(scenario: Scenario, learner: Learner, device: Device) -> int:
    """Return what training needs on a device, at the rank that its clients have."""
    full_rank = learner.rank
    if full_rank is None:
        return learner.memory_at(None)
    rank = scenario.ranks.rank(full_rank, device, learner.memory_at)
    return learner.memory_at(rank)


def build_stage(
    scenario: Scenario,
    learner: Learner,
    population: Population,
    recorder: Recorder,
    watch: Callable[[Progress], None],
) -> Stage:
    """Return the stage of one run, with nothing started yet."""
    env = Engine()
    up, down = scenario.cell.uplink, scenario.cell.downlink
    heard_by = scenario.cell.fading.heard_by
    transfer_ids = itertools.count()
    uplink, downlink = (
        SharedBand(
            env,
            cell_id=CELL_ID,
            direction=direction,
            band_hz=int(band_hz),
            radio=radio,
            divider=rule,
            ledger=recorder,
            transfer_ids=transfer_ids,
            capacity=radio.capacity(),
        )
        for direction, band_hz, radio, rule in (
            ("up", up.band_hz, heard_by(up.radio), up.sharing),
            ("down", down.band_hz, heard_by(down.radio), down.rule),
        )
    )
    recorder.capacities.extend(_capacities(scenario))
    return Stage(
        env=env,
        seed=scenario.seed,
        population=population,
        uplink=uplink,
        downlink=downlink,
        learner=learner,
        recorder=recorder,
        stop=scenario.stop,
        ranks=scenario.ranks,
        watch=watch,
        policy=scenario.policy,
        planner=build_planner(scenario, learner, population),
    )


def _capacities(scenario: Scenario) -> Iterator[Capacity]:
    """Yield the rows of the bands that follow a measured trace."""
    cell = scenario.cell
    for direction, band in (("up", cell.uplink), ("down", cell.downlink)):
        capacity = band.radio.capacity()
        for step in () if capacity is None else capacity.steps:
            yield Capacity(CELL_ID, direction, *step)


def play(stage: Stage, scenario: Scenario) -> None:
    """Run the server's story to its end."""
    stage.env.run(until=stage.env.process(scenario.server.play(stage)))
    stage.uplink.close()
    stage.downlink.close()

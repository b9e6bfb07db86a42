"""A scenario put on the stage: bands, clients, learner and server of one run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from netsim.band import SharedBand
from netsim.cell import Cell, Downlink, Uplink
from netsim.channel import OutageRadio, Radio, db_to_linear
from netsim.clock import to_ns
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
    transfer_ids = itertools.count()
    uplink, downlink = (
        SharedBand(
            env,
            cell_id=CELL_ID,
            direction=direction,
            band_hz=int(air.band_hz),
            radio=_heard(scenario.cell, air),
            divider=rule,
            ledger=recorder,
            transfer_ids=transfer_ids,
            capacity=air.radio.capacity(),
            outage_timeout_ns=_outage_timeout_ns(air),
        )
        for direction, air, rule in (
            ("up", up, up.sharing),
            ("down", down, down.rule),
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


def _heard(cell: Cell, air: Uplink | Downlink) -> Radio:
    """Return the radio as transfers meet it: fading may be too fast for it to follow,
    and below a minimum SNR there is nothing; with fast fading that is the mean SNR."""
    radio = cell.fading.heard_by(air.radio)
    if air.minimum_snr_db is None:
        return radio
    return OutageRadio(radio, db_to_linear(air.minimum_snr_db))


def _outage_timeout_ns(air: Uplink | Downlink) -> int | None:
    return None if air.outage_timeout_s is None else to_ns(air.outage_timeout_s)


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

"""A scenario put on the stage: bands, clients, learner and server of one run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from netsim.band import OwnLinks, SharedBand
from netsim.cell import Cell, Downlink, Uplink
from netsim.channel import (
    CapacityTable,
    MeasuredRadio,
    OutageRadio,
    Radio,
    db_to_linear,
)
from netsim.channel.own_links import Links
from netsim.clock import to_ns
from netsim.cosim.scenario import Scenario
from netsim.cosim.steering import build_planner
from netsim.device import Device
from netsim.engine import Engine
from netsim.population import Population
from netsim.protocol.learner import Learner, first_job
from netsim.protocol.stage import Progress, Stage
from netsim.trace.rows import Capacity, Lap

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
    if scenario.population.links is None:
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
            capacity=_capacity(air, scenario.seed, direction),
            outage_timeout_ns=_outage_timeout_ns(air),
        )
        for direction, air, rule in (
            ("up", up, up.sharing),
            ("down", down, down.rule),
        )
    )
    links = scenario.population.links
    recorder.laps.extend(() if links is None else _laps(links))
    for direction, air in (("up", up), ("down", down)):
        capacity = _capacity(air, scenario.seed, direction)
        steps = () if capacity is None else capacity.steps
        recorder.capacities.extend(Capacity(CELL_ID, direction, *s) for s in steps)
    return Stage(
        env=env,
        seed=scenario.seed,
        population=population,
        uplink=uplink,
        downlink=downlink,
        links=_own_links(scenario, env, recorder, transfer_ids),
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


def _own_links(
    scenario: Scenario, env: Engine, recorder: Recorder, transfer_ids: Iterator[int]
) -> OwnLinks | None:
    links = scenario.population.links
    if links is None:
        return None
    return OwnLinks(
        env,
        cell_id=CELL_ID,
        direction="up",
        tables=links.tables(),
        choice=partial(links.link, scenario.seed),
        ledger=recorder,
        transfer_ids=transfer_ids,
    )


def _laps(links: Links) -> Iterator[Lap]:
    for file_id, table in enumerate(links.tables()):
        for step in table.steps:
            yield Lap(file_id, *step)


def _capacity(
    air: Uplink | Downlink, seed: int, direction: str
) -> CapacityTable | None:
    """Return the lap of a band that follows a measured trace, from where it starts."""
    radio = air.radio
    return (
        radio.started(seed, direction)
        if isinstance(radio, MeasuredRadio)
        else radio.capacity()
    )


def play(stage: Stage, scenario: Scenario) -> None:
    """Run the server's story to its end."""
    stage.env.run(until=stage.env.process(scenario.server.play(stage)))
    stage.uplink.close()
    stage.downlink.close()

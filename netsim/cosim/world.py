"""A scenario put on the stage: bands, clients, learner and server of one run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from netsim.backhaul import Wire
from netsim.band import SharedBand
from netsim.cell import DIRECTIONS
from netsim.clock import to_ns
from netsim.cosim.scenario import Scenario
from netsim.cosim.steering import build_planner
from netsim.device import Device
from netsim.engine import Engine
from netsim.network import Network
from netsim.population import Population
from netsim.protocol.cells import CellLeg, Cells
from netsim.protocol.learner import Learner, first_job
from netsim.protocol.stage import Progress, Stage
from netsim.trace import rows
from netsim.trace.rows import Capacity

if TYPE_CHECKING:
    from netsim.trace.writer import Recorder


def build_population(scenario: Scenario, learner: Learner) -> Population:
    """Return the drawn fleet, each device able to hold the training."""
    population = Population(
        scenario.population,
        scenario.network,
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
    recorder.capacities.extend(_capacities(scenario.network))
    recorder.cells.extend(_cell_rows(scenario.network))
    return Stage(
        env=env,
        seed=scenario.seed,
        population=population,
        cells=_build_cells(env, scenario.network, recorder),
        learner=learner,
        recorder=recorder,
        stop=scenario.stop,
        ranks=scenario.ranks,
        watch=watch,
        policy=scenario.policy,
        planner=build_planner(scenario, learner, population),
    )


def _build_cells(env: Engine, network: Network, recorder: Recorder) -> Cells:
    """Return everybody's bands, and the wires behind them."""
    transfer_ids = itertools.count()
    bands: dict[CellLeg, SharedBand] = {}
    wires: dict[CellLeg, Wire] = {}
    for cell_id, cell in enumerate(network.cells):
        for direction in DIRECTIONS:
            key, band = (cell_id, direction), cell.band(direction)
            bands[key] = SharedBand(
                env,
                cell_id=cell_id,
                direction=direction,
                band_hz=int(band.band_hz),
                radio=cell.fading.heard_by(band.radio),
                divider=cell.uplink.sharing
                if direction == "up"
                else cell.downlink.rule,
                ledger=recorder,
                transfer_ids=transfer_ids,
                capacity=band.radio.capacity(),
            )
            if cell.backhaul is not None:
                wires[key] = Wire(cell.backhaul)
    return Cells(bands=bands, wires=wires)


def _capacities(network: Network) -> Iterator[Capacity]:
    """Yield the rows of the bands that follow a measured trace."""
    for cell_id, cell in enumerate(network.cells):
        for direction in DIRECTIONS:
            capacity = cell.band(direction).radio.capacity()
            for step in () if capacity is None else capacity.steps:
                yield Capacity(cell_id, direction, *step)


def _cell_rows(network: Network) -> Iterator[rows.Cell]:
    """Yield the table of cells, unless all is that there is one."""
    if len(network.cells) == 1 and network.cells[0].backhaul is None:
        return
    for cell_id, cell in enumerate(network.cells):
        wire = cell.backhaul
        yield rows.Cell(
            cell_id,
            cell.name,
            *cell.position_m,
            int(cell.uplink.band_hz),
            int(cell.downlink.band_hz),
            None if wire is None else wire.rate_bps,
            None if wire is None else to_ns(wire.latency_s),
        )


def play(stage: Stage, scenario: Scenario) -> None:
    """Run the server's story to its end."""
    stage.env.run(until=stage.env.process(scenario.server.play(stage)))
    stage.cells.close()

"""The simulated world of one run: bands, clients, learner and server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from fl.memory.code import own_classes
from netsim.band import OwnLinks, SharedBand
from netsim.channel import CapacityTable, OutageRadio, Radio, db_to_linear
from netsim.channel.own_links import Links
from netsim.client.scene import CellDirection, Cells, Scene
from netsim.core.clock import MAX_NS, to_ns
from netsim.core.engine import DEPARTURES, Alarm, Engine, StrictEngine
from netsim.cosim.plan_problem import draw_population
from netsim.cosim.policy_setup import build_planner
from netsim.cosim.scenario import Scenario
from netsim.devices.device import Device
from netsim.errors import InputError
from netsim.learner.learner import Learner
from netsim.network.backhaul import Wire
from netsim.network.cell import DIRECTIONS, Cell, Direction, Downlink, Uplink
from netsim.network.cells import Network
from netsim.population import Population
from netsim.server.outcome import Samplers
from netsim.server.stage import Progress, Stage
from netsim.trace import rows
from netsim.trace.rows import Capacity, Lap

if TYPE_CHECKING:
    from netsim.trace.writer import Recorder


def build_population(scenario: Scenario, learner: Learner) -> Population:
    """Return the drawn fleet; refuse a device whose memory is too small."""
    population = draw_population(scenario, learner)
    if scenario.policy is None or "decides-ranks" not in scenario.policy.traits:
        population.fleet.require_memory(partial(_needed_bytes, scenario, learner))
    return population


def _needed_bytes(scenario: Scenario, learner: Learner, device: Device) -> int:
    """Return the bytes that training needs on a device, at the rank of its clients."""
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
    env = StrictEngine() if own_classes([scenario]) else Engine()
    transfer_ids = itertools.count()
    links = scenario.population.links
    recorder.capacities.extend(capacity_rows(scenario))
    recorder.cells.extend(cell_rows(scenario.network))
    recorder.laps.extend(() if links is None else lap_rows(links))
    scene = Scene(
        env=env,
        seed=scenario.seed,
        population=population,
        cells=_build_cells(env, scenario, recorder, transfer_ids),
        links=_own_links(scenario, env, recorder, transfer_ids),
        learner=learner,
        recorder=recorder,
        tells_updates=learner.schedule.updates or _reads_losses(scenario),
    )
    policy = scenario.policy
    return Stage(
        scene=scene,
        ranks=scenario.ranks,
        stop=scenario.stop,
        watch=watch,
        samplers=_samplers(scenario, learner, population),
        charges_pilots=policy is None or policy.charges_pilots,
    )


def _reads_losses(scenario: Scenario) -> bool:
    sampling = scenario.server.sampling
    return sampling is not None and "reads-losses" in sampling.traits


def _samplers(
    scenario: Scenario, learner: Learner, population: Population
) -> Callable[[Stage], Samplers] | None:
    """Return the samplers of the policy, if there is one."""
    planner = build_planner(scenario, learner, population)
    if scenario.policy is None or planner is None:
        return None
    return partial(scenario.policy.samplers, planner=planner)


def _build_cells(
    env: Engine, scenario: Scenario, recorder: Recorder, transfer_ids: Iterator[int]
) -> Cells:
    """Return the bands of all cells, and the backhauls behind them."""
    bands: dict[CellDirection, SharedBand] = {}
    wires: dict[CellDirection, Wire] = {}
    for cell_id, cell in enumerate(scenario.network.cells):
        for direction in DIRECTIONS:
            key, air = (cell_id, direction), cell.band(direction)
            timeout_s = air.outage_timeout_s
            bands[key] = SharedBand(
                env,
                cell_id=cell_id,
                direction=direction,
                band_hz=int(air.band_hz),
                radio=heard(cell, air),
                divider=cell.uplink.sharing
                if direction == "up"
                else cell.downlink.rule,
                ledger=recorder,
                transfer_ids=transfer_ids,
                capacity=_capacity(air, scenario.seed, cell_id, direction),
                outage_timeout_ns=None if timeout_s is None else to_ns(timeout_s),
            )
            if cell.backhaul is not None:
                wires[key] = Wire(cell.backhaul)
    return Cells(bands=bands, wires=wires)


def capacity_rows(scenario: Scenario) -> Iterator[Capacity]:
    """Yield the rows of the bands that follow a measured trace."""
    for cell_id, cell in enumerate(scenario.network.cells):
        for direction in DIRECTIONS:
            air = cell.band(direction)
            capacity = _capacity(air, scenario.seed, cell_id, direction)
            for step in () if capacity is None else capacity.steps:
                yield Capacity(cell_id, direction, *step)


def cell_rows(network: Network) -> Iterator[rows.Cell]:
    """Yield the rows of the table of cells; none for one cell without a backhaul."""
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


def heard(cell: Cell, air: Uplink | Downlink) -> Radio:
    """Return the radio as transfers see it: averaged over fast fading, and in outage
    below the minimum SNR (of the mean, with fast fading)."""
    radio = cell.fading.effective_radio(air.radio)
    if air.minimum_snr_db is None:
        return radio
    return OutageRadio(radio, db_to_linear(air.minimum_snr_db))


def _own_links(
    scenario: Scenario, env: Engine, recorder: Recorder, transfer_ids: Iterator[int]
) -> OwnLinks | None:
    links = scenario.population.links
    if links is None:
        return None
    return OwnLinks(
        env,
        cell_id=0,
        direction="up",
        tables=links.tables(),
        choice=partial(links.link, scenario.seed),
        ledger=recorder,
        transfer_ids=transfer_ids,
    )


def lap_rows(links: Links) -> Iterator[Lap]:
    """Yield one row per step of each measured link's capacity."""
    for file_id, table in enumerate(links.tables()):
        for step in table.steps:
            yield Lap(file_id, *step)


def _capacity(
    air: Uplink | Downlink, seed: int, cell_id: int, direction: Direction
) -> CapacityTable | None:
    """Return the capacity table of a band with a measured radio."""
    return air.radio.from_start(
        seed, f"{direction}/{cell_id}" if cell_id else direction
    )


def play(stage: Stage, scenario: Scenario) -> None:
    """Run the server's story to its end; refuse one beyond the clock's."""
    env = stage.scene.env
    Alarm(env, DEPARTURES, _refuse_more_time).set(MAX_NS)
    env.run(until=env.process(scenario.server.play(stage)))
    stage.scene.cells.close()


def _refuse_more_time() -> None:
    raise InputError(
        "the run goes on for more than 292 years of simulated time; shorten what takes "
        "so long, or set `stop.time`"
    )

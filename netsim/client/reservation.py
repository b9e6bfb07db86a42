"""The uplink shares that a sharing rule fixes when a round begins."""

from __future__ import annotations

from collections.abc import Sequence

from fl.record import told
from netsim.band import Terms
from netsim.channel.effective import least_cn0_hz, planned_radio
from netsim.channel.latency import mean_latency_s
from netsim.client.crossing import by_cell
from netsim.client.participation import Participation
from netsim.client.scene import Scene
from netsim.core.streams import stream
from netsim.network.cell import Direction
from netsim.sharing import Expected
from netsim.sharing.rule import FACTS


def reserve(scene: Scene, parts: Sequence[Participation]) -> dict[int, Terms]:
    """Return the uplink shares that the rule of each cell fixes for a round, if any."""
    cells = scene.population.network.cells
    if not any("plans-rounds" in cell.uplink.sharing.traits for cell in cells):
        return {}
    found: dict[int, Terms] = {}
    for cell_id, own in by_cell(scene, parts):
        uplink = cells[cell_id].uplink
        if "plans-rounds" in uplink.sharing.traits:
            expected = [_expected(scene, part, cell_id, len(own)) for part in own]
            free_uhz = scene.band(cell_id, "up").free_uhz()
            radio = planned_radio(uplink.radio)
            facts = _facts(scene, own[0].round_id, cell_id)
            facts |= dict(zip(FACTS, (expected, free_uhz, radio), strict=False))
            asked = told(type(uplink.sharing).reserve, facts)
            found |= uplink.sharing.reserve(**asked)
    return found


def _facts(scene: Scene, round_id: int, cell_id: int) -> dict[str, object]:
    """Return what a rule of a user's own may ask for besides."""
    fleet = scene.population.fleet
    return {
        "round_id": round_id,
        "rng": stream(scene.seed, "sharing", round_id, cell_id),
        "device": lambda client_id: fleet.device(client_id).name,
        "seen": scene.seen,
    }


def _expected(
    scene: Scene, part: Participation, cell_id: int, num_parts: int
) -> Expected:
    learner, bits_up = scene.learner, scene.learner.bits_up(part.job)
    transport = scene.air(cell_id, "up").transport
    ceiling_hz = scene.population.radio_map.ceiling_hz(part.client_id)
    compute_s = scene.population.fleet.expected_compute_s(
        part.client_id, learner.work(part.job)
    )
    return Expected(
        part.client_id,
        compute_s
        + _expected_download_s(scene, part, cell_id, num_parts)
        + transport.delay_s,
        transport.air_bits(bits_up),
        _cn0_hz(scene, part, cell_id, "up"),
        *(() if ceiling_hz is None else (ceiling_hz,)),
    )


def _expected_download_s(
    scene: Scene, part: Participation, cell_id: int, num_parts: int
) -> float:
    """Return the seconds that a client's own download takes at an equal share."""
    common, private = scene.learner.bits_down(part.job, part.held_version)
    bits = private if part.download_end_ns is not None else common + private
    if not bits:
        return 0.0
    downlink = scene.population.network.cells[cell_id].downlink
    cn0_hz = _cn0_hz(scene, part, cell_id, "down")
    radio = planned_radio(downlink.radio)
    rate_bps = radio.rate_bps(cn0_hz, downlink.band_hz / num_parts)
    sending_s = downlink.transport.air_bits(bits) / rate_bps
    waiting_s = mean_latency_s(downlink.latency_s, downlink.jitter)
    return downlink.transport.delay_s + sending_s + waiting_s


def _cn0_hz(
    scene: Scene, part: Participation, cell_id: int, direction: Direction
) -> float:
    """Return the C/N0 that a plan uses for a participant now, in Hz; one that is below
    its radio's table, and so must wait, counts at the lowest entry."""
    radio_map, cells = scene.population.radio_map, scene.population.network.cells
    cn0_hz = radio_map.effective_cn0_hz(part.client_id, direction, scene.env.now)
    return cn0_hz or least_cn0_hz(cells[cell_id].band(direction).radio)

"""The uplink shares that a sharing rule fixes when a round begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netsim.band import Terms
from netsim.channel.latency import mean_latency_s
from netsim.client.cells import attach
from netsim.client.participation import Participation
from netsim.sharing import Expected

if TYPE_CHECKING:
    from netsim.server.stage import Stage


def reserve(stage: Stage, parts: Sequence[Participation]) -> dict[int, Terms]:
    """Return the uplink shares that the rule of each cell fixes for a round, if any."""
    cells = stage.population.network.cells
    if not any("plans-rounds" in cell.uplink.sharing.traits for cell in cells):
        return {}
    groups: dict[int, list[Participation]] = {}
    for part in parts:
        groups.setdefault(attach(stage, part.client_id), []).append(part)
    found: dict[int, Terms] = {}
    for cell_id, own in sorted(groups.items()):
        uplink = cells[cell_id].uplink
        if "plans-rounds" in uplink.sharing.traits:
            expected = [_expected(stage, part, cell_id, len(own)) for part in own]
            free_uhz = stage.band(cell_id, "up").free_uhz()
            found |= uplink.sharing.reserve(expected, free_uhz, uplink.radio)
    return found


def _expected(
    stage: Stage, part: Participation, cell_id: int, num_parts: int
) -> Expected:
    radio_map, learner = stage.population.radio_map, stage.learner
    ceiling_hz = radio_map.ceiling_hz(part.client_id)
    job = part.job()
    compute_s = stage.population.fleet.expected_compute_s(
        part.client_id, learner.flop(job)
    )
    return Expected(
        part.client_id,
        compute_s + _expected_download_s(stage, part, cell_id, num_parts),
        learner.bits_up(job),
        radio_map.effective_cn0_hz(part.client_id, "up", stage.env.now),
        *(() if ceiling_hz is None else (ceiling_hz,)),
    )


def _expected_download_s(
    stage: Stage, part: Participation, cell_id: int, num_parts: int
) -> float:
    """Return how long a client's own download may take, at an equal share."""
    common, private = stage.learner.bits_down(part.job(), part.has)
    bits = private if part.download_end_ns is not None else common + private
    if not bits:
        return 0.0
    downlink = stage.population.network.cells[cell_id].downlink
    cn0_hz = stage.population.radio_map.effective_cn0_hz(
        part.client_id, "down", stage.env.now
    )
    sending_s = bits / downlink.radio.rate_bps(cn0_hz, downlink.band_hz / num_parts)
    return sending_s + mean_latency_s(downlink.latency_s, downlink.jitter)

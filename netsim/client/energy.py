"""What a participation has cost its client so far, in parts, and costs now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsim.core.clock import to_s

if TYPE_CHECKING:
    from netsim.client.participation import Participation
    from netsim.population import Population


def energies_j(
    population: Population, part: Participation, now_ns: int
) -> tuple[float, float, float]:
    """Return the joules of computing, of sending and of all other time until now.

    The device draws idle power whenever it does not compute, until the server releases
    it or it is gone; the radio's power comes on top while it has a share of the uplink.
    """
    device = population.fleet.device(part.client_id)
    power_dbm = population.config.transmit_power_dbm
    end_ns = now_ns if part.end_ns is None else part.end_ns
    compute_s = _between_s(part.compute_start_ns, part.compute_end_ns, end_ns)
    idle_s = (
        _between_s(part.download_start_ns, part.compute_start_ns, end_ns)
        + _between_s(part.upload_start_ns, None, end_ns)
        + to_s(part.released_ns(now_ns) - end_ns)
    )
    return (
        device.compute_energy_j(compute_s),
        device.transmit_energy_j(power_dbm, to_s(part.airtime_by(now_ns))),
        device.idle_energy_j(idle_s),
    )


def power_w(population: Population, part: Participation) -> float:
    """Return the watts that a client draws now; those of sending before its turn too,
    which is more than it draws."""
    device = population.fleet.device(part.client_id)
    if part.end_ns is not None or part.compute_start_ns is None:
        return device.idle_power_w
    if part.upload_start_ns is None:
        return device.compute_power_w
    power_dbm = population.config.transmit_power_dbm
    return device.idle_power_w + device.transmit_energy_j(power_dbm, 1.0)


def _between_s(start_ns: int | None, end_ns: int | None, cut_ns: int) -> float:
    """Return the seconds of a phase that may not have begun or not have ended."""
    if start_ns is None:
        return 0.0
    return to_s((cut_ns if end_ns is None else end_ns) - start_ns)

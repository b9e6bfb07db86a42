"""What a scenario costs, from sizes and speeds alone."""

from __future__ import annotations

from fl.contract import Work
from netsim.channel.own_links import LINK_HZ
from netsim.core.quantities import format_duration_ns, format_quantity
from netsim.cosim.scenario import Scenario
from netsim.devices.device import Device
from netsim.learner.learner import Learner, first_job


def estimate(scenario: Scenario, learner: Learner | None) -> list[str]:
    """Return lines about the cost of one participation, or why it is not known."""
    if learner is None:
        return [
            "cost: bits and FLOP of this model are not counted yet; "
            "`netsim check --count` or the first run does it"
        ]
    models = scenario.learning.timing_model()
    job = first_job(learner)
    download_bits = sum(learner.bits_down(job, None))
    work = learner.work(job)
    lines = [
        *(f"{what} is that of {models[what]}" for what in models),
        f"{_whose(scenario)}: download {_bytes(download_bits)}, "
        f"upload {_bytes(learner.bits_up(job))}, "
        f"compute {format_quantity(work.flop, 'FLOP')}, "
        f"memory {format_quantity(learner.memory_at(learner.rank), 'B')}",
    ]
    for choice in scenario.population.devices:
        lines.append(_device_line(choice.device, work))
    return [*lines, _upload_line(scenario, learner.bits_up(job))]


def _upload_line(scenario: Scenario, bits: int) -> str:
    links = scenario.population.links
    if links is not None:
        means_bps = [t.mean_efficiency_bit_s_hz * LINK_HZ for t in links.tables()]
        fast, slow = (
            format_duration_ns(round(bits / rate_bps * 1e9))
            for rate_bps in (max(means_bps), min(means_bps))
        )
        return f"one upload over a link of its own takes {fast} to {slow} in the mean"
    uplinks = [cell.uplink for cell in scenario.network.cells]
    best_bps = max(uplink.radio.rate_bps(1e30, uplink.band_hz) for uplink in uplinks)
    least_ns = round(bits / best_bps * 1e9)
    return (
        f"one upload alone on the band takes {format_duration_ns(least_ns)} or longer"
    )


def _whose(scenario: Scenario) -> str:
    differs = "differs-by-client" in scenario.learning.traits
    return "per participation of client 0" if differs else "per participation"


def _device_line(device: Device, work: Work) -> str:
    compute_s = device.compute_time_s(work)
    joules = format_quantity(device.compute_energy_j(compute_s), "J", num_digits=3)
    duration = format_duration_ns(round(compute_s * 1e9))
    certainty = f"({device.certainty})"
    return f"{device.name} computes for {duration} {certainty} and takes {joules}"


def _bytes(bits: int) -> str:
    return format_quantity(bits / 8, "B")

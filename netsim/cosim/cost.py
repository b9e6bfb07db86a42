"""What a scenario costs, from sizes and speeds alone."""

from __future__ import annotations

from collections.abc import Iterator

from fl.contract import Work
from netsim.channel import CapacityTable
from netsim.channel.own_links import LINK_HZ
from netsim.core.quantities import format_duration_ns, format_quantity
from netsim.cosim.scenario import Scenario
from netsim.devices.device import Device
from netsim.learner.learner import Learner, first_job
from netsim.network.cell import DIRECTIONS

LONG_GAP_NS = 10**9


def estimate(scenario: Scenario, learner: Learner | None) -> list[str]:
    """Return lines about the cost of one participation, or why it is not known."""
    traces = list(_trace_lines(scenario))
    if learner is None:
        return [
            *traces,
            "cost: bits and FLOP of this model are not counted yet; "
            "`netsim check --count` or the first run does it",
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
    return [*lines, _upload_line(scenario, learner.bits_up(job)), *traces]


def _trace_lines(scenario: Scenario) -> Iterator[str]:
    """Yield a line about each trace that a band, or a client's own link, follows."""
    for path, cell in scenario.placed_cells():
        for direction in DIRECTIONS:
            band = cell.band(direction)
            table = band.radio.capacity()
            if table is not None:
                name = f"{'.'.join(map(str, path))}.{direction}link"
                yield f"{name} follows a trace of {_trace_facts(table, band.band_hz)}"
    links = scenario.population.links
    for number, table in enumerate([] if links is None else links.tables()):
        facts = _trace_facts(table, LINK_HZ)
        yield f"population.links: file {number} is a trace of {facts}"


def _trace_facts(table: CapacityTable, band_hz: float) -> str:
    """Return a trace's length, its mean rate and its gaps as text."""
    mean_bps = table.mean_efficiency_bit_s_hz * band_hz
    long_ns = [gap_ns for gap_ns in table.gaps_ns if gap_ns >= LONG_GAP_NS]
    mean, length = (
        format_quantity(mean_bps, "bit/s"),
        format_duration_ns(table.period_ns),
    )
    gaps = "no gap"
    if table.gaps_ns:
        gaps = f"the longest gap {format_duration_ns(max(table.gaps_ns))}"
    if long_ns:
        total = format_duration_ns(sum(long_ns))
        gaps += f", {total} in gaps of 1 s or more"
    return f"{length} at {mean} in the mean, {gaps}; it repeats"


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
    return (
        f"{device.name} computes for {duration} {certainty} and takes {joules} "
        f"(power {device.power_basis})"
    )


def _bytes(bits: int) -> str:
    return format_quantity(bits / 8, "B")

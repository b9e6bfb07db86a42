"""All that follows from scenario, draws and other tables, computed again.

A user's class is never loaded: what only it could say is not recomputed, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from netsim.scenario import NotLoaded
from netsim.verify import (
    clients,
    draws,
    efficiency,
    energy,
    evaluations,
    marks,
    merges,
    one_by_one,
    policies,
    presence,
    radio,
    sizes,
    statuses,
    timeline,
    transport,
    work,
)
from netsim.verify.finding import Finding
from netsim.verify.known import Known, Unknown
from netsim.verify.trace import Trace

Compute: TypeAlias = Callable[[Trace, Known], Iterator[Finding]]


class Check(NamedTuple):
    """What is computed again, and the columns that it concerns."""

    columns: str
    findings: Compute


class Skipped(NamedTuple):
    """Columns that were not computed again, and why."""

    columns: str
    reason: str

    def __str__(self) -> str:
        return f"{self.columns}: {self.reason}"


CHECKS = (
    Check(
        "clients.cell_id, device, x_m, y_m, distance_m, is_line_of_sight, mean_snr_db",
        clients.check_places,
    ),
    Check("clients.num_samples", clients.check_samples),
    Check("clients.weight", clients.check_data_weights),
    Check("plans.rank", clients.check_given_ranks),
    Check("plans.round_id, sampling_probability", policies.check_plans),
    Check("estimates", policies.check_estimates),
    Check("events `pilot`, `plan`, `floor`, `fallback`", policies.check_policy_marks),
    Check("tasks.client_id, weight; events `away or busy`", draws.check_draws),
    Check("tasks.status `left`", presence.check_presence),
    Check("tasks.client_id of servers without rounds", one_by_one.check_picks),
    Check("tasks.task_id", work.check_task_ids),
    Check("tasks.compute_start_ns, upload_start_ns", work.check_phases),
    Check("transfers.bits, crossings.bits of uploads", sizes.check_uploads),
    Check("transfers.bits, crossings.bits of downloads", sizes.check_downloads),
    Check("tasks.rank", work.check_task_ranks),
    Check("tasks.compute_flop, compute_end_ns", work.check_compute),
    Check("rounds.round_id, start_ns, end_ns", timeline.check_rounds),
    Check("tasks.status, transfers.status", statuses.check_statuses),
    Check("tasks.weight of buffers", statuses.check_buffer_weights),
    Check("segments.spectral_efficiency_nbit_s_hz", efficiency.check_efficiencies),
    Check("events.sequence", marks.check_sequence),
    Check("events `server down`", marks.check_outages),
    Check("events `dismissed`", marks.check_dismissed),
    Check("events `deadline`, `enough`", marks.check_late),
    Check("events `battery empty`", marks.check_batteries),
    Check("events `diverged`", marks.check_diverged),
    Check("events `nobody there`", marks.check_deserted),
    Check("events `handover`", marks.check_moves),
    Check(
        "evals.round_id, phase, time_ns; events `stop`",
        evaluations.check_evaluations,
    ),
    Check("evals.split, num_samples", evaluations.check_scores),
    Check("evals.client_id", evaluations.check_local_scores),
    Check("updates", evaluations.check_updates),
    Check("merges.round_id, layer, method, num_components", merges.check_merges),
    Check("cells", radio.check_cells),
    Check("bands.band_hz", radio.check_bandwidths),
    Check("capacities, laps", radio.check_traces),
    Check("links", radio.check_own_links),
    Check("arrivals, transfers.status `failed`", radio.check_messages_draws),
    Check("transfers.start_ns of clients' own messages", transport.check_transport),
    Check("segments.pinned_uhz under a window", efficiency.check_windows),
    Check(
        "tasks.compute_energy_j, transmit_energy_j, idle_energy_j",
        energy.check_energies,
    ),
)


def recompute(trace: Trace, known: Known, skipped: list[Skipped]) -> Iterator[Finding]:
    """Yield what differs from what follows; append what could not be computed."""
    try:
        known.scenario  # noqa: B018
    except Unknown as reason:
        rule = "the scenario must be readable, to compute again what follows from it"
        yield Finding("scenario.yaml", "", rule, str(reason))
        return
    except NotLoaded as reason:
        skipped.append(_skipped("all", reason))
        return
    strangers = [
        *statuses.check_ranges(trace, known),
        *clients.check_planned_clients(trace, known),
    ]
    yield from strangers
    for check in () if strangers else CHECKS:
        try:
            yield from list(check.findings(trace, known))
        except (Unknown, NotLoaded) as reason:
            skipped.append(_skipped(check.columns, reason))


def _skipped(columns: str, reason: Unknown | NotLoaded) -> Skipped:
    text = str(reason)
    if isinstance(reason, NotLoaded):
        text = f"{reason.kind} is a user's class, which an audit does not load"
    return Skipped(columns, text)

"""One row type per table of the trace: its docstring, its columns in order, and what a
column means where its name and unit do not say it."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fl.contract import Score
from netsim.trace.literals import EventKind, Status

TRACE_VERSION = 1


class Client(NamedTuple):
    """A device of the population: where it is and what it holds."""

    client_id: int
    cell_id: int
    device: str
    x_m: float
    y_m: float
    distance_m: float
    is_line_of_sight: bool
    mean_snr_db: Annotated[float, "uplink, alone on the band, without fading"]
    num_samples: int
    weight: float


class Plan(NamedTuple):
    """What the policy asks of a client from this round on."""

    round_id: int
    client_id: int
    sampling_probability: Annotated[
        float | None, "null where the server draws among idle clients"
    ]
    rank: int | None


class Round(NamedTuple):
    """One server round, or one flush of an asynchronous buffer."""

    round_id: int
    server_id: int
    phase: str
    start_ns: int
    end_ns: int
    num_sampled: int
    num_merged: int
    num_dropped: int


class Task(NamedTuple):
    """One participation of one client, from download to arrival."""

    task_id: int
    round_id: int
    client_id: int
    rank: int | None
    weight: Annotated[float | None, "in its merge; null where it was given none"]
    download_start_ns: int
    download_end_ns: int | None
    compute_start_ns: int | None
    compute_end_ns: int | None
    upload_start_ns: int | None
    end_ns: int
    download_bits: int
    upload_bits: int
    compute_flop: int
    compute_energy_j: float
    transmit_energy_j: float
    idle_energy_j: float
    merged_round_id: int | None
    staleness: int | None
    status: Status


class Transfer(NamedTuple):
    """One message over a band; a broadcast belongs to a round and to no client."""

    transfer_id: int
    task_id: int | None
    round_id: int
    client_id: int | None
    cell_id: int
    direction: str
    bits: int
    start_ns: int
    end_ns: int
    status: Status


class Arrival(NamedTuple):
    """When a message was delivered: its latency after its transfer's last bit."""

    transfer_id: int
    arrival_ns: int


class Segment(NamedTuple):
    """An interval in which a transfer's own terms are constant."""

    transfer_id: int
    start_ns: int
    end_ns: int
    weight: int
    pinned_uhz: int | None
    spectral_efficiency_nbit_s_hz: int


class Band(NamedTuple):
    """An interval of constant division of a band, while at least one transfer runs."""

    cell_id: int
    direction: str
    start_ns: int
    end_ns: int
    unit_share_uhz: int
    num_live: int
    allocated_uhz: int
    band_hz: int


class Capacity(NamedTuple):
    """An interval of a measured band's trace, which repeats from time zero on: its
    efficiency multiplies the segments' own, which is then 1 or 0."""

    cell_id: int
    direction: str
    start_ns: int
    end_ns: int
    spectral_efficiency_nbit_s_hz: int


class Cell(NamedTuple):
    """A base station and its backhaul; null where it has none."""

    cell_id: int
    name: str
    x_m: float
    y_m: float
    uplink_band_hz: int
    downlink_band_hz: int
    backhaul_bps: float | None
    backhaul_latency_ns: int | None


class Crossing(NamedTuple):
    """One message on a cell's backhaul, from its arrival there to its delivery, waiting
    and latency included; a broadcast has no task and no client."""

    crossing_id: Annotated[int, "in order of their start"]
    cell_id: int
    direction: str
    round_id: int
    bits: int
    task_id: int | None
    client_id: int | None
    start_ns: int
    end_ns: int
    status: Status


class OwnLink(NamedTuple):
    """The own link of one client: the measured trace that it follows, and its offset in
    that trace at time zero."""

    client_id: int
    direction: str
    file_id: int
    offset_ns: int


class Lap(NamedTuple):
    """An interval of a measured link's trace; its efficiency is over the 1 MHz that the
    segments of a link's transfers hold."""

    file_id: int
    start_ns: int
    end_ns: int
    spectral_efficiency_nbit_s_hz: int


class Evaluation(NamedTuple):
    """Metrics of one adapter version on one split; no client means global."""

    round_id: int
    phase: str
    client_id: int | None
    time_ns: int
    split: str
    num_samples: int
    loss: float
    accuracy: float
    perplexity: Annotated[float | None, "of a causal model"] = None
    exact_match: Annotated[float | None, "where answers are generated"] = None


def evaluation_row(score: Score, round_id: int, phase: str, time_ns: int) -> Evaluation:
    """Return a score as a row of ``evals``."""
    return Evaluation(round_id, phase, score.client_id, time_ns, *score[:-1])


class Merge(NamedTuple):
    """How far one merged layer is from the ideal sum of the clients' products."""

    round_id: int
    layer: str
    method: str
    num_components: int
    relative_error: float
    average_relative_error: Annotated[
        float, "that of plain factor averaging on the same updates"
    ]
    update_relative_error: Annotated[
        float | None, "relative to the round's own update"
    ] = None
    left_spread: Annotated[
        float | None, "how far FLoRA-NA's P is from the clients' weights"
    ] = None
    right_spread: Annotated[float | None, "the same of its Q"] = None


class Estimate(NamedTuple):
    """What a policy takes a constant to be from this round on; no client means all."""

    round_id: int
    time_ns: int
    name: str
    client_id: int | None
    value: float
    standard_error: Annotated[
        float | None, "null where the value was given or the error is unknown"
    ]


class Update(NamedTuple):
    """What learning tells of one update in a merge."""

    task_id: int
    round_id: Annotated[int, "of the merge"]
    time_ns: int
    loss: Annotated[float | None, "mean over the client's mini-batches; null if hidden"]
    norm2: Annotated[float | None, "squared norm of the change; null if left out"]
    epsilon: Annotated[
        float | None, "spent by all the client's starts; null without an accountant"
    ]


class Event(NamedTuple):
    """Anything else worth a mark on the timeline."""

    sequence: int
    time_ns: int
    kind: EventKind
    round_id: int | None
    client_id: int | None
    detail: str

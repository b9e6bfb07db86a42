"""Checks that messages have the bits that the learner says: what a client downloads
depends on the version that it is sent and on the one that it holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from fl.contract import Job
from netsim.cosim.learner import FederatedLearner
from netsim.network.cell import Direction
from netsim.trace.rows import Crossing, Transfer
from netsim.verify.cells import Whereabouts
from netsim.verify.finding import Finding
from netsim.verify.known import Known, Unknown
from netsim.verify.trace import NONE, Trace
from netsim.verify.work import jobs_of, ranks_in_force, rounds_before_phases

OWN_RANKS = "downloads of this merge depend on ranks that only learning gives"
OF_EDGES = "edge servers have versions of their own, which their clients download"
Sizes = Mapping[tuple[object, ...], tuple[int, ...]]  # of a task, cell or round


def check_uploads(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield uploads that do not have the learner's bits, on the air with headers."""
    if _are_alike(trace, known, "up"):
        return
    sizes: Sizes = {
        ("task", task_id): (known.learner.bits_up(job),)
        for task_id, job in jobs_of(trace).items()
    }
    yield from _check_messages(trace, known, "up", sizes)


def check_downloads(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield downloads that do not have the bits that their client lacks, and broadcasts
    that do not have the most that a receiver lacks."""
    if _are_alike(trace, known, "down"):
        return
    learner, versions = known.learner, _versions(trace, known)
    where, held, jobs = Whereabouts(trace), dict[int, str](), jobs_of(trace)
    sizes: dict[tuple[object, ...], tuple[int, ...]] = {}
    common: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for task in trace.tasks_by_id:
        version = versions.get(task.round_id)
        if version is None:  # of no round, which is a finding elsewhere
            continue
        job, client_id = replace(jobs[task.task_id], version=version), task.client_id
        shared, own = learner.bits_down(job, held.get(client_id))
        sizes["task", task.task_id] = shared + own, own
        cell_id = where.at(client_id, task.download_start_ns)
        common["cell", task.round_id, cell_id].append(shared)
        if task.download_end_ns is not None:
            held[client_id] = version
    sizes.update({place: (max(bits),) for place, bits in common.items()})
    weakest = known.population.radio_map.weakest_client
    ranks_at = ranks_in_force(trace, known)
    for round_id, version in versions.items():
        rank = ranks_at(round_id)[weakest]
        if (rank == NONE) == (known.scenario.learning.federated is not None):
            continue  # a plan without a rank, the same
        job = Job(weakest, 0, round_id, version, rank if rank >= 0 else None)
        shared, _ = learner.bits_down(job, version)
        sizes["round", round_id] = (shared,)  # to nobody
    yield from _check_messages(trace, known, "down", sizes)


def _are_alike(trace: Trace, known: Known, direction: Direction) -> bool:
    """Return whether all messages have the bits that each has, where nothing is learned
    and clients are alike."""
    traits, found = known.scenario.learning.traits, trace.columns("transfers")
    if "trains-nothing" not in traits or "differs-by-client" in traits:
        return False
    job, learner = Job(0, 0, 1, "", None), known.learner
    bits = (
        learner.bits_up(job) if direction == "up" else learner.bits_down(job, None)[0]
    )
    is_right = found["direction"] != direction
    for cell_id, cell in enumerate(known.scenario.network.cells):
        due = cell.band(direction).transport.air_bits(bits)
        is_right |= (found["cell_id"] == cell_id) & (found["bits"] == due)
    return bool(is_right.all()) and not trace.crossings


def _check_messages(
    trace: Trace, known: Known, direction: Direction, sizes: Sizes
) -> Iterator[Finding]:
    cells = known.scenario.network.cells
    crossings = () if trace.has_edges else trace.crossings
    for table, rows in (("transfers", trace.transfers), ("crossings", crossings)):
        for row in rows:
            if row.direction != direction:
                continue
            may_be = _sizes_of(row, sizes)
            if table == "transfers":
                transport = cells[row.cell_id].band(direction).transport
                may_be = tuple(map(transport.air_bits, may_be))
            if may_be and row.bits not in may_be:
                rule = "a message must have the bits that are sent"
                where = f"{table.removesuffix('s')} {row[0]}"
                yield Finding(table, where, rule, f"{row.bits}, computed {may_be[0]}")


def _sizes_of(row: Transfer | Crossing, sizes: Sizes) -> tuple[int, ...]:
    """Return the bits that a message may have; none of a task that is not there."""
    if row.task_id is not None:
        return sizes.get(("task", row.task_id), ())
    place = "cell", row.round_id, row.cell_id
    return sizes.get(place, sizes.get(("round", row.round_id), ()))


def _versions(trace: Trace, known: Known) -> dict[int, str]:
    """Return the version in force in each round, and tell the learner which was made of
    which; without learning they have no names."""
    learning = known.scenario.learning.federated
    if learning is None:
        return {row.round_id: "" for row in trace.rounds}
    contract = learning.aggregation.contract
    if contract.is_folding or contract.has_own_rank:
        raise Unknown(OWN_RANKS)
    if trace.has_edges:
        raise Unknown(OF_EDGES)
    learner, after = cast(FederatedLearner, known.learner), rounds_before_phases(trace)
    turns: dict[int, int] = {}  # of merges within their phases
    for task in trace.tasks:
        if task.merged_round_id is not None:
            turn = task.round_id - after.get(task.round_id, 0)
            before = turns.get(task.merged_round_id, turn)
            turns[task.merged_round_id] = max(turn, before)
    found, version, phase = {}, learner.initial_version, ("", 0)
    for row in sorted(trace.rounds):
        keeps = known.policy_rules.keeps_model and row.phase != "pilot"
        if phase != (row.phase, after[row.round_id]) and not keeps:
            version = learner.initial_version
        phase, found[row.round_id] = (row.phase, after[row.round_id]), version
        if row.round_id in turns:
            made = f"round {row.round_id}"
            learner.recall(made, version, turns[row.round_id])
            version = made
    return found

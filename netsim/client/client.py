"""What one client does in its task: download, compute, upload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import simpy

from fl.contract import NOTHING, Job
from netsim.band import Terms
from netsim.client.broadcast import broadcast
from netsim.client.crossing import attach
from netsim.client.messages import Lost, carry
from netsim.client.participation import AtEnd, Participation, Process, running
from netsim.client.reservation import reserve
from netsim.client.scene import Scene
from netsim.client.undisturbed import is_undisturbed, play_undisturbed
from netsim.trace.literals import Status


def serve_cell(
    scene: Scene,
    parts: Sequence[Participation],
    missing: Job,
    ends: Sequence[simpy.Event] = (),
    at_end: AtEnd = lambda part: None,
    *,
    waits_for_all: bool = False,
) -> Process:
    """Serve the participants of one cell: broadcast, plan the uplink, start every task
    and wait for their ends.

    ``at_end`` receives each participation when it ends; for ``missing`` and ``ends``
    see :func:`broadcast`. A server that ``waits_for_all`` cuts no task.
    """
    if waits_for_all and parts:
        cell_id = attach(scene, parts[0].client_id)
        if is_undisturbed(scene, cell_id):
            yield from broadcast(scene, parts, missing, ())
            terms = reserve(scene, parts)
            yield play_undisturbed(scene, cell_id, parts, terms, at_end)
            return
    yield from broadcast(scene, parts, missing, ends)
    tasks = running(parts)
    terms = reserve(scene, tasks)
    for part in parts:
        if part.status is None:
            own = take_part(scene, part, terms.get(part.client_id), at_end)
            part.process = scene.env.process(own)
        else:  # it ended with the broadcast
            at_end(part)
    yield scene.env.all_of([part.process for part in tasks if part.process])


def take_part(
    scene: Scene, part: Participation, terms: Terms | None, at_end: AtEnd
) -> Process:
    """Play one client's task, and hand it to ``at_end`` when it has ended.

    An interrupt, or a message that is lost for good, ends it with its cause as status.
    After a broadcast the task starts with its ``download_end_ns``.
    """
    env, learner, job = scene.env, scene.learner, part.job
    part.ticket = learner.submit(job)
    try:
        common, private = learner.bits_down(job, part.held_version)
        if part.download_end_ns is not None:
            common = 0
        if part.retry_pause_ns:
            yield env.timeout(part.retry_pause_ns)
        if common + private:
            yield from carry(scene, part, "down", common + private)
        part.download_end_ns = part.compute_start_ns = env.now
        scene.held_versions[job.client_id] = job.version
        scene.attendance.power_changed(part)
        work = learner.work(job)
        part.compute_flop = work.flop
        if work != NOTHING:
            yield env.timeout(
                scene.population.fleet.compute_ns(job.client_id, part.occasion, work)
            )
        part.compute_end_ns = part.upload_start_ns = env.now
        bits_up = learner.bits_up(job)
        scene.attendance.power_changed(part)
        if bits_up:
            yield from carry(scene, part, "up", bits_up, terms)
        part.status = "done"
    except (simpy.Interrupt, Lost) as cut:
        _withdraw(scene, part, cast(Status, cut.cause))
    part.end_ns = env.now
    scene.attendance.ended(part)
    at_end(part)


def _withdraw(scene: Scene, part: Participation, status: Status) -> None:
    """Give up a task: its training, and the transfer that is under way."""
    part.status = status
    scene.learner.withdraw(part.ticket)
    if part.sending is not None:
        medium, transfer = part.sending
        medium.cut(transfer, status)
        part.note_sent()

"""Edge servers, one in every cell, and a cloud server that merges their versions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from fl.contract import Branch
from netsim.band import Message
from netsim.client.client import serve_cell
from netsim.client.crossing import cross
from netsim.client.participation import Participation, Process, arrived
from netsim.core.clock import to_ns
from netsim.learner.stop import MAX_ROUNDS
from netsim.network.cell import Direction
from netsim.policy import Drawn
from netsim.scenario import Record
from netsim.scenario.traits import Traits
from netsim.server.round_settings import DrawnBy, Duration
from netsim.server.rules import RoundRules, ServerRules
from netsim.server.stage import Counts, Stage
from netsim.server.story import RoundTiming


class Hierarchical(Record):
    """An edge server at every base station merges its cell's clients for
    ``edge_rounds`` rounds; then the cloud merges the edges, and all go on from that.

    Each round draws among all clients, and every edge serves its own of them. An update
    weighs what it would at one server, over the data share of its cell; an edge weighs
    that share in the cloud's merge. With one edge round and averaged factors the
    cloud's version is that of one server (client-edge-cloud averaging: Liu et al.,
    "Client-edge-cloud hierarchical federated learning", ICC 2020). Versions cross the
    backhaul between edge and cloud, and nothing else does. An edge
    none of whose clients is drawn broadcasts nothing, like such a cell of one server.
    ``announce_time`` and ``merge_time`` are an edge's, ``cloud_merge_time`` is the
    cloud's. ``stop`` counts rounds of the edges and is looked at when the cloud has
    merged.
    """

    counts: ClassVar[Mapping[str, int]] = {}
    round_timing: ClassVar[None] = None
    kind: Literal["hierarchical"] = "hierarchical"
    sampling: DrawnBy
    edge_rounds: int = Field(ge=1, le=MAX_ROUNDS)
    announce_time_s: Duration
    merge_time_s: Duration
    cloud_merge_time_s: Duration

    @property
    def traits(self) -> Traits:
        return {
            "waits-for-all": "",
            "merges-new-versions": "",
            "has-edges": "",
            "has-sampling": "sampling",
        }

    @property
    def rules(self) -> ServerRules:
        timing = RoundTiming(self.announce_time_s, self.merge_time_s)  # of an edge
        return ServerRules(
            rounds=RoundRules(
                timing=timing,
                rounds_per_draw=self.edge_rounds,
                is_numbered_by_client=False,
            )
        )

    def play(self, stage: Stage) -> Process:
        """Run until the cloud has merged what was asked for."""
        scene, env = stage.scene, stage.scene.env
        scene.cells.are_servers = True
        weights = scene.population.data_weights
        stage.begin(self.sampling.probabilities(weights).tolist())
        edges = _edges(stage, self)
        for first_id in itertools.count(1, self.edge_rounds):
            is_deserted = not (yield from scene.attendance.wait_for_any())
            start_ns = env.now
            round_ids = range(first_id, first_id + self.edge_rounds)
            drawn = {n: self._drawn(stage, n) for n in round_ids}
            for edge in edges:
                edge.version = stage.version
            yield env.all_of([env.process(edge.serve(drawn, edges)) for edge in edges])
            if self.cloud_merge_time_s:
                yield env.timeout(to_ns(self.cloud_merge_time_s))
            stage.join(
                round_ids[-1], [Branch(edge.version, edge.share) for edge in edges]
            )
            stage.end_round(
                round_ids[-1],
                start_ns,
                Counts(len(edges), len(edges)),
                server_id=len(scene.population.network.cells),
                is_deserted=is_deserted,
            )
            if stage.is_over:
                return

    def _drawn(self, stage: Stage, round_id: int) -> Drawn:
        return stage.participants.draw(self.sampling, round_id, stage.version)


@dataclass
class Edge:
    """One cell's server: its clients, their share of all data, and its version."""

    stage: Stage
    config: Hierarchical
    cell_id: int
    members: frozenset[int]
    share: float
    version: str = ""

    def serve(self, drawn: Mapping[int, Drawn], edges: Sequence[Edge]) -> Process:
        """Fetch the cloud's version, run the rounds until its next merge, given with
        their draws, and send the result to the cloud."""
        yield from self._carry_version("down", min(drawn))
        for round_id in drawn:
            yield from self._round(round_id, drawn[round_id], edges)
        yield from self._carry_version("up", max(drawn))

    def _carry_version(self, direction: Direction, round_id: int) -> Process:
        message = Message(round_id, self.stage.versions.bits(self.version, round_id))
        if message.bits:
            way = self.cell_id, direction
            yield from cross(self.stage.scene, *way, message, is_between_servers=True)

    def _round(self, round_id: int, drawn: Drawn, edges: Sequence[Edge]) -> Process:
        stage, env = self.stage, self.stage.scene.env
        start_ns = env.now
        if self.config.announce_time_s:
            yield env.timeout(to_ns(self.config.announce_time_s))
        parts = self._enlist(round_id, drawn)
        if parts:
            missing = stage.participants.missing(round_id, self.version)
            yield from serve_cell(stage.scene, parts, missing, waits_for_all=True)
        updates = arrived(parts)
        if updates:
            if self.config.merge_time_s:
                yield env.timeout(to_ns(self.config.merge_time_s))
            held = [stage.version, *(edge.version for edge in edges)]
            stage.scene.learner.hold(held)
            merged = stage.versions.merged(self.version, round_id, updates)
            stage.participants.note(updates, merged)
            self.version = merged.version
        num_merged = stage.participants.record_merge(parts, round_id)
        stage.write_round(
            round_id,
            start_ns,
            Counts(len(parts), num_merged, len(parts) - num_merged),
            server_id=self.cell_id,
        )

    def _enlist(self, round_id: int, drawn: Drawn) -> list[Participation]:
        """Enlist the cell's own clients among all that are drawn."""
        own = [
            (client_id, weight / self.share)
            for client_id, weight in zip(drawn.client_ids, drawn.weights, strict=True)
            if client_id in self.members
        ]
        return self.stage.participants.enlist_drawn(
            round_id, self.version, own, place=f"cell {self.cell_id}"
        )


def _edges(stage: Stage, config: Hierarchical) -> list[Edge]:
    """Return an edge for each cell that has clients, with their share of all data."""
    population = stage.scene.population
    edges = []
    for cell_id in range(len(population.network.cells)):
        members = population.radio_map.members(cell_id).tolist()
        if members:
            share = math.fsum(population.data_weights[members].tolist())
            edges.append(Edge(stage, config, cell_id, frozenset(members), share))
    return edges

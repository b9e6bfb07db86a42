"""Edge servers, one in every cell, and a cloud server that merges their versions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from fl.contract import Branch
from netsim.client.client import serve_cell
from netsim.client.crossing import Load, over_wire
from netsim.client.participation import Participation, Process
from netsim.core.clock import to_ns
from netsim.network.cell import Direction
from netsim.policy import SAMPLERS, Drawn, Sampler
from netsim.scenario import OneOf, Record
from netsim.server.round_settings import Duration
from netsim.server.stage import Stage


class Hierarchical(Record):
    """An edge server at every base station merges its cell's clients for
    ``edge_rounds`` rounds; then the cloud merges the edges, and all go on from that.

    Each round draws among all clients, and every edge serves its own of them. An update
    weighs what it would at one server, over the data share of its cell; an edge weighs
    that share in the cloud's merge. With one edge round and averaged factors the
    cloud's version is that of one server (client-edge-cloud averaging: Liu et al.,
    "Client-edge-cloud hierarchical federated learning", ICC 2020). Versions cross the
    backhaul between edge and cloud, and nothing else does. ``announce_time`` and
    ``merge_time`` are an edge's, ``cloud_merge_time`` is the cloud's. ``stop`` counts
    rounds of the edges and is looked at when the cloud has merged.
    """

    kind: Literal["hierarchical"] = "hierarchical"
    sampling: Annotated[Sampler, OneOf(SAMPLERS)]
    edge_rounds: int = Field(ge=1)
    announce_time_s: Duration
    merge_time_s: Duration
    cloud_merge_time_s: Duration

    @property
    def round_timing(self) -> None:
        return None

    def play(self, stage: Stage) -> Process:
        """Run until the cloud has merged what was asked for."""
        scene, env = stage.scene, stage.scene.env
        scene.cells.are_servers = True
        weights = scene.population.data_weights
        stage.begin(self.sampling.probabilities(weights).tolist())
        draws = Draws(stage, self.sampling)
        edges = _edges(stage, self, draws)
        for first_id in itertools.count(1, self.edge_rounds):
            is_deserted = not (yield from scene.attendance.wait_for_any())
            start_ns = env.now
            for edge in edges:
                edge.version = stage.version
            yield env.all_of(
                [env.process(edge.serve(first_id, edges)) for edge in edges]
            )
            if self.cloud_merge_time_s:
                yield env.timeout(to_ns(self.cloud_merge_time_s))
            draws.forget()
            last_id = first_id + self.edge_rounds - 1
            stage.join(last_id, [Branch(edge.version, edge.share) for edge in edges])
            stage.end_round(
                last_id,
                start_ns,
                num_sampled=len(edges),
                num_merged=len(edges),
                server_id=len(scene.population.network.cells),
                is_deserted=is_deserted,
            )
            if stage.is_over:
                return


class Draws:
    """The clients drawn among all for each round, shared by the edges."""

    def __init__(self, stage: Stage, sampling: Sampler) -> None:
        self._stage = stage
        self._sampling = sampling
        self._drawn: dict[int, Drawn] = {}

    def of(self, round_id: int) -> Drawn:
        """Return the draw of a round; the first edge that asks makes it."""
        if round_id not in self._drawn:
            drawn = self._stage.participants.draw(self._sampling, round_id)
            self._drawn[round_id] = drawn
        return self._drawn[round_id]

    def forget(self) -> None:
        """Forget the rounds that all edges have ended."""
        self._drawn.clear()


@dataclass
class Edge:
    """One cell's server: its clients, their share of all data, and its version."""

    stage: Stage
    config: Hierarchical
    draws: Draws
    cell_id: int
    members: frozenset[int]
    share: float
    version: str = ""

    def serve(self, first_id: int, edges: Sequence[Edge]) -> Process:
        """Fetch the cloud's version, run the rounds until its next merge, and send the
        result to the cloud."""
        last_id = first_id + self.config.edge_rounds - 1
        yield from self._carry_version("down", first_id)
        for round_id in range(first_id, last_id + 1):
            yield from self._round(round_id, edges)
        yield from self._carry_version("up", last_id)

    def _carry_version(self, direction: Direction, round_id: int) -> Process:
        load = Load(round_id, self.stage.versions.bits(self.version, round_id))
        if load.bits:
            yield from over_wire(self.stage.scene, self.cell_id, direction, load)

    def _round(self, round_id: int, edges: Sequence[Edge]) -> Process:
        stage, env = self.stage, self.stage.scene.env
        start_ns = env.now
        if self.config.announce_time_s:
            yield env.timeout(to_ns(self.config.announce_time_s))
        parts = self._enlist(round_id)
        if parts:
            missing = stage.participants.missing(round_id, self.version)
            yield from serve_cell(stage.scene, parts, missing)
        arrived = [part for part in parts if part.status == "done"]
        if arrived:
            if self.config.merge_time_s:
                yield env.timeout(to_ns(self.config.merge_time_s))
            held = [stage.version, *(edge.version for edge in edges)]
            stage.scene.learner.hold(held)
            merge = stage.versions.merge_at_edge
            self.version = merge(self.version, round_id, arrived)
        self._record(round_id, start_ns, parts)

    def _enlist(self, round_id: int) -> list[Participation]:
        """Enlist the cell's own clients among all that are drawn."""
        drawn = self.draws.of(round_id)
        own = [
            (client_id, weight / self.share)
            for client_id, weight in zip(drawn.client_ids, drawn.weights, strict=True)
            if client_id in self.members
        ]
        return self.stage.participants.enlist_drawn(
            round_id, self.version, own, place=f"cell {self.cell_id}"
        )

    def _record(
        self, round_id: int, start_ns: int, parts: Sequence[Participation]
    ) -> None:
        """Write a round that is over, and its participations."""
        num_merged = 0
        for part in parts:
            is_merged = part.status == "done"
            merged_id = round_id if is_merged else None
            self.stage.participants.record(part, merged_round_id=merged_id)
            num_merged += is_merged
        self.stage.write_round(
            round_id,
            start_ns,
            num_sampled=len(parts),
            num_merged=num_merged,
            num_dropped=len(parts) - num_merged,
            server_id=self.cell_id,
        )


def _edges(stage: Stage, config: Hierarchical, draws: Draws) -> list[Edge]:
    """Return an edge for each cell that has clients, with their share of all data."""
    population = stage.scene.population
    edges = []
    for cell_id in range(len(population.network.cells)):
        members = population.radio_map.members(cell_id).tolist()
        if members:
            share = math.fsum(population.data_weights[members].tolist())
            edges.append(Edge(stage, config, draws, cell_id, frozenset(members), share))
    return edges

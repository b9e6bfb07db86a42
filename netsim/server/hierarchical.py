"""The story of edge servers, one in every cell, and a cloud that merges theirs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fl.contract import Branch
from netsim.client.broadcast import broadcast
from netsim.client.cells import Load, over_wire
from netsim.client.participation import Participation, Process
from netsim.client.reservation import reserve
from netsim.core.clock import to_ns
from netsim.core.quantities import Seconds
from netsim.core.streams import stream
from netsim.policy import SAMPLERS, Drawn, Sampler
from netsim.scenario import OneOf, Record
from netsim.scenario.traits import SAMPLER, Traits
from netsim.server.stage import Stage
from netsim.trace.rows import Round

Duration = Annotated[Seconds, Field(ge=0)]


class Hierarchical(Record):
    """An edge server at every base station merges its cell's clients for
    ``edge_rounds`` rounds; then the cloud merges the edges, and all go on from that.

    Who takes part is drawn among all clients, anew in each round, and every edge takes
    its own; an update weighs what it would at one server, over the data share of its
    cell, and an edge weighs that share in the cloud's merge. With one edge round and
    factors averaged the cloud's version is that of one server (client-edge-cloud
    averaging: Liu et al., "Client-edge-cloud hierarchical federated learning", ICC
    2020). Versions cross the backhaul between edge and cloud, and nothing else does.
    ``announce_time`` and ``merge_time`` are an edge's, ``cloud_merge_time`` is not.
    ``stop`` counts rounds of the edges and is looked at when the cloud has merged.
    """

    counts: ClassVar[Mapping[str, int]] = {}
    kind: Literal["hierarchical"] = "hierarchical"
    sampling: Annotated[Sampler, OneOf(SAMPLERS, SAMPLER)]
    edge_rounds: int = Field(ge=1)
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
    def round_timing(self) -> None:
        return None

    def play(self, stage: Stage) -> Process:
        """Run until the cloud has merged what was asked for."""
        weights = stage.population.data_weights
        stage.cells.are_servers = True
        stage.begin(self.sampling.probabilities(weights).tolist())
        draws = Draws(stage, self.sampling)
        edges = _edges(stage, self, draws)
        for first_id in itertools.count(1, self.edge_rounds):
            is_deserted = not (yield from stage.attendance.somebody())
            start_ns, base = stage.env.now, stage.version
            for edge in edges:
                edge.version = base
            yield stage.env.all_of(
                [stage.env.process(edge.serve(first_id, edges)) for edge in edges]
            )
            if self.cloud_merge_time_s:
                yield stage.env.timeout(to_ns(self.cloud_merge_time_s))
            draws.forget()
            last_id = first_id + self.edge_rounds - 1
            branches = [Branch(edge.version, edge.share) for edge in edges]
            stage.join(last_id, branches)
            stage.end_round(
                last_id,
                start_ns,
                num_sampled=len(edges),
                num_merged=len(edges),
                server_id=len(stage.population.network.cells),
                is_deserted=is_deserted,
            )
            if stage.is_over:
                return


class Draws:
    """Who is drawn among all clients: once for a round, whichever edge asks first."""

    def __init__(self, stage: Stage, sampling: Sampler) -> None:
        self._stage = stage
        self._sampling = sampling
        self._drawn: dict[int, Drawn] = {}

    def of(self, round_id: int) -> Drawn:
        """Return the draw of a round that some edge is in."""
        if round_id not in self._drawn:
            rng = stream(self._stage.seed, "sampling", round_id)
            weights = self._stage.population.data_weights
            self._drawn[round_id] = self._sampling.draw(weights, rng)
        return self._drawn[round_id]

    def forget(self) -> None:
        """Forget the rounds that all edges have been through."""
        self._drawn.clear()


@dataclass
class Edge:
    """One cell's server: its clients, what part of all data they hold, and its
    version."""

    stage: Stage
    config: Hierarchical
    draws: Draws
    cell_id: int
    members: frozenset[int]
    share: float
    version: str = ""

    def serve(self, first_id: int, edges: Sequence[Edge]) -> Process:
        """Fetch the cloud's version, run the rounds until its next merge, and send the
        cloud what came of it."""
        stage, num_rounds = self.stage, self.config.edge_rounds
        down = Load(first_id, stage.version_bits(self.version, first_id))
        if down.bits:
            yield from over_wire(stage, self.cell_id, "down", down)
        for round_id in range(first_id, first_id + num_rounds):
            yield from self._round(round_id, edges)
        last_id = first_id + num_rounds - 1
        up = Load(last_id, stage.version_bits(self.version, last_id))
        if up.bits:
            yield from over_wire(stage, self.cell_id, "up", up)

    def _round(self, round_id: int, edges: Sequence[Edge]) -> Process:
        stage, start_ns = self.stage, self.stage.env.now
        if self.config.announce_time_s:
            yield stage.env.timeout(to_ns(self.config.announce_time_s))
        parts = self._enlist(round_id)
        if not parts:
            stage.mark("empty round", round_id=round_id, detail=f"cell {self.cell_id}")
        else:
            yield from broadcast(stage, round_id, parts, None)
            yield from self._gather(parts)
        arrived = [part for part in parts if part.status == "done"]
        if arrived:
            if self.config.merge_time_s:
                yield stage.env.timeout(to_ns(self.config.merge_time_s))
            stage.learner.hold([stage.version, *(edge.version for edge in edges)])
            self.version = stage.merge_into(self.version, round_id, arrived)
        self._record(round_id, start_ns, parts)

    def _enlist(self, round_id: int) -> list[Participation]:
        """Return the cell's own among all who are drawn, from the edge's version on."""
        drawn = self.draws.of(round_id)
        own = [
            (client_id, weight / self.share)
            for client_id, weight in zip(drawn.client_ids, drawn.weights, strict=True)
            if client_id in self.members
        ]
        here = [one for one in own if self.stage.attendance.is_here(one[0])]
        if len(here) < len(own):
            detail = f"{len(own) - len(here)} of {len(own)} drawn, cell {self.cell_id}"
            self.stage.mark("away or busy", round_id=round_id, detail=detail)
        return [
            self.stage.enlist(client_id, round_id, weight, version=self.version)
            for client_id, weight in here
        ]

    def _gather(self, parts: Sequence[Participation]) -> Process:
        stage = self.stage
        waiting = [part for part in parts if part.status == "running"]
        terms = reserve(stage, waiting)
        for part in waiting:
            stage.start(part, terms.get(part.client_id), lambda part: None)
        yield stage.env.all_of([part.process for part in waiting if part.process])

    def _record(
        self, round_id: int, start_ns: int, parts: Sequence[Participation]
    ) -> None:
        """Write a round that is over, and everybody's part in it."""
        stage, now_ns = self.stage, self.stage.env.now
        for part in parts:
            merged = round_id if part.status == "done" else None
            stage.record(part, merged_round_id=merged)
        num_merged = sum(part.status == "done" for part in parts)
        counts = len(parts), num_merged, len(parts) - num_merged
        phase = stage.leg.phase
        stage.recorder.rounds.append(
            Round(round_id, self.cell_id, phase, start_ns, now_ns, *counts)
        )


def _edges(stage: Stage, config: Hierarchical, draws: Draws) -> list[Edge]:
    """Return an edge for each cell that has clients, with their share of all data."""
    weights, radio_map = stage.population.data_weights, stage.population.radio_map
    edges = []
    for cell_id in range(len(stage.population.network.cells)):
        members = radio_map.members(cell_id).tolist()
        if members:
            share = math.fsum(weights[members].tolist())
            edges.append(Edge(stage, config, draws, cell_id, frozenset(members), share))
    return edges

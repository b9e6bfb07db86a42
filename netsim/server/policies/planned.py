"""The policy that follows a plan from a file, as ``netsim plan`` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeGuard

import numpy as np

from netsim.errors import InputError
from netsim.policy.planner import Planner
from netsim.policy.sampler import Coins, FloatArray
from netsim.scenario import Record
from netsim.scenario.file_path import FilePath
from netsim.scenario.traits import Traits
from netsim.server.outcome import Samplers
from netsim.server.rules import PolicyRules
from netsim.server.stage import Stage

COLUMNS = ("client_id", "sampling_probability", "rank")


class PlannedPolicy(Record):
    """Follows a file with every client's probability and rank, as `netsim plan` writes.

    It is Parquet, a row per client; a relative path starts at the scenario's folder,
    and is written down as absolute.
    """

    traits: ClassVar[Traits] = {"decides-sampling": "", "decides-ranks": ""}
    constants: ClassVar[None] = None
    charges_pilots: ClassVar[bool] = True
    max_weight: ClassVar[float | None] = None
    kind: Literal["planned"] = "planned"
    path: FilePath

    @property
    def rules(self) -> PolicyRules:
        return PolicyRules(reads=(self.path,))

    def require_files(self, num_clients: int) -> None:
        read_plan(Path(self.path), num_clients)

    def require(self, planner: Planner) -> None:
        self._plan(planner)

    def samplers(self, stage: Stage, planner: Planner) -> Samplers:
        plan = self._plan(planner)
        stage.participants.client_ranks = plan.ranks
        stage.begin(plan.probabilities.tolist())
        while True:
            yield Coins(plan.probabilities)

    def _plan(self, planner: Planner) -> Plan:
        plan = read_plan(Path(self.path), len(planner.problem))
        for client_id, top in enumerate(planner.top_ranks().tolist()):
            rank = plan.ranks[client_id]
            if not 1 <= rank <= planner.problem.global_rank:
                rule = f"must lie in 1 to the adapter's {planner.problem.global_rank}"
            elif rank > top:
                rule = f"must not exceed {top}, which its memory and the deadline allow"
            else:
                continue
            raise _refused(self.path, f"rank of client {client_id} {rule}, got {rank}")
        return plan


class Plan(NamedTuple):
    """Probability and rank of every client, in the order of their ids."""

    probabilities: FloatArray
    ranks: tuple[int, ...]


def read_plan(path: Path, num_clients: int) -> Plan:
    """Return the plan in a Parquet file, checked against the number of clients."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as file:  # pyarrow takes no path that is not UTF-8
            table = pq.ParquetFile(file).read()
    except (pa.ArrowException, OSError) as error:
        raise _refused(path, f"cannot be read: {str(error).splitlines()[0]}") from error
    for name in COLUMNS:
        count = table.column_names.count(name)
        if count != 1:
            fault = f"has {count} columns" if count else "lacks the column"
            raise _refused(path, f"{fault} {name!r}; `netsim plan` writes it")
    if table.num_rows != num_clients:
        raise _refused(
            path, f"plans for {table.num_rows} clients, the scenario has {num_clients}"
        )
    client_ids, *values = (table[name].to_pylist() for name in COLUMNS)
    by_client = dict(zip(client_ids, zip(*values, strict=True), strict=True))
    return _plan_of(path, by_client, num_clients)


def _plan_of(
    path: Path, by_client: dict[object, tuple[object, object]], num_clients: int
) -> Plan:
    """Return the plan of probability and rank by client, each checked."""
    probabilities, ranks = [], []
    for client_id in range(num_clients):
        if client_id not in by_client:
            raise _refused(path, f"client_id must be 0 to {num_clients - 1}, each once")
        probability, rank = by_client[client_id]
        if not (_is_number(probability) and 0 < probability <= 1):
            rule = "must lie above 0, up to 1"
            what = f"sampling_probability of client {client_id}"
            raise _refused(path, f"{what} {rule}, got {probability!r}")
        if not (_is_number(rank) and isinstance(rank, int)):
            raise _refused(path, f"rank of client {client_id} must be whole: {rank!r}")
        probabilities.append(float(probability))
        ranks.append(rank)
    return Plan(np.array(probabilities), tuple(ranks))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refused(path: Path | str, text: str) -> InputError:
    return InputError(f"policy.path: {path} {text}")

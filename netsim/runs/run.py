"""A run on disk: its manifest, its scenario and its tables as pandas frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from fl.contract import METRICS
from netsim.core.files import damage
from netsim.core.quantities import did_you_mean
from netsim.errors import InputError
from netsim.learner.stop import is_of, met
from netsim.runs.manifest import Manifest, read_manifest, require_scenario
from netsim.scenario.source import read_document
from netsim.trace.own_tables import NAME
from netsim.trace.schemas import SCHEMAS
from netsim.trace.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd  # half a second, and needed by what shows tables alone

BATCH_ROWS = 4096  # become Python objects together

Row = TypeVar("Row", bound=NamedTuple)


def load_run(path: str | Path) -> Run:
    """Return the run in the folder ``path``; tables are read when first asked for."""
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"no run at {folder}: there is no such folder")
    return Run(folder, read_manifest(folder))


class Run:
    """A run, finished or not; of a killed one the tables end at their last part."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._frames: dict[str, pd.DataFrame] = {}

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.manifest.status})"

    @property
    def scenario_text(self) -> str:
        """The fully resolved scenario, as YAML."""
        require_scenario(self.folder, self.manifest)
        return (self.folder / "scenario.yaml").read_text(encoding="utf-8")

    def __getattr__(self, name: str) -> pd.DataFrame:
        """Return the table ``name`` as a frame: ``run.tasks``, ``run.evals``, ..."""
        # a copy asks for its hooks before it has a manifest
        known = set(TABLES) if name[:1] == "_" else {*TABLES, *self.own_tables}
        if name in known:
            return self.table(name)
        hint = did_you_mean(name, known)
        raise AttributeError(f"a run has no {name!r}{hint}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *TABLES, *self.own_tables]

    @property
    def own_tables(self) -> list[str]:
        """The tables that a user's own classes wrote."""
        return own_tables(self.manifest)

    def table(self, name: str) -> pd.DataFrame:
        """Return the table ``name`` as a frame, read once; a damaged one is refused."""
        if name not in self._frames:
            require_intact(self.folder, self.manifest, name)
            self._frames[name] = _frame(read_table(self.folder, name))
        return self._frames[name]

    def time_to(
        self,
        metric: str,
        level: float,
        *,
        over: int = 1,
        split: str = "test",
        with_pilots: bool = True,
    ) -> pd.Timedelta | pd.api.typing.NaTType:
        """Return when the mean of the last ``over`` global evaluations first reaches
        ``level``, or NaT if never.

        A loss or perplexity reaches it from above, any other metric from below; a
        pilot's evaluation never does. Without ``with_pilots`` the time of pilots is not
        counted.
        """
        import pandas as pd

        from netsim.runs.moment import Moment  # brings pandas

        if metric not in METRICS:
            raise InputError(f"no metric {metric!r}; there are {', '.join(METRICS)}")
        evals = self.global_evals(split, with_pilots=False)
        values = evals[metric].astype("float64").tolist()
        times_ns = evals.loc[met(values, metric, level, over), "time_ns"]
        if times_ns.empty:
            return pd.NaT
        before_ns = 0 if with_pilots else self.manifest.pilot_time_ns
        return Moment(int(times_ns.min()) - before_ns, "ns")

    def global_evals(
        self, split: str = "test", *, with_pilots: bool = True
    ) -> pd.DataFrame:
        """Return the evaluations of the global adapter on a split, in order of time."""
        import pandas as pd

        evals = self.evals[self.evals["client_id"].isna()]
        is_asked = [is_of(shown, split) for shown in evals["split"]]
        evals = evals[pd.Series(is_asked, index=evals.index, dtype=bool)]
        evals = evals.sort_values(["time_ns", "round_id"], kind="stable")
        return evals if with_pilots else evals[evals["phase"] != "pilot"]

    def local_gap(self) -> pd.DataFrame:
        """Return per round the metrics of clients' own adapters and of the global one
        on the clients' data, as means over the evaluated clients, and their gaps, which
        are positive where the own adapter is better."""
        evals = self.evals[self.evals["client_id"].notna()]
        keys = ["round_id", "time_ns", "client_id"]
        own, shared = (
            evals[evals["split"] == split].set_index(keys)[["accuracy", "loss"]]
            for split in ("local-personal", "local-global")
        )
        table = own.add_suffix("_personal").join(shared.add_suffix("_global"))
        by_round = table.groupby(["round_id", "time_ns"])
        found = by_round.mean()
        found.insert(0, "num_clients", by_round.size())
        found["accuracy_gap"] = found["accuracy_personal"] - found["accuracy_global"]
        found["loss_gap"] = found["loss_global"] - found["loss_personal"]
        return found.reset_index()


def own_tables(manifest: Manifest) -> list[str]:
    """Return the names of the tables that a user's own classes wrote; each is one of a
    folder of the trace."""
    found = sorted(manifest.table_digests.keys() - TABLES.keys())
    for name in found:
        if not NAME.fullmatch(name):
            raise InputError(f"manifest.json: no table can be named {name!r}")
    return found


def require_intact(run_folder: Path, manifest: Manifest, table: str) -> None:
    """Refuse a table whose parts are not those that the manifest lists; the manifest of
    a running run lists none."""
    listed = [part for part in manifest.parts if part.table == table]
    for part in listed:
        wrong = damage(run_folder, part)
        if wrong:
            raise InputError(wrong)
    known = {run_folder / part.path for part in listed}
    if manifest.parts and not known.issuperset(part_paths(run_folder, table)):
        raise InputError(f"{run_folder}: {table} has parts that the manifest lacks")


def part_paths(run_folder: Path, table: str) -> list[Path]:
    """Return the finished parts of a table, in order."""
    return sorted((run_folder / "trace" / table).glob("part-*.parquet"))


def read_part(path: Path, table: str) -> pa.Table:
    """Return one part, which must have the table's schema."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file")
    try:
        with open(path, "rb") as file:  # pyarrow takes no path that is not UTF-8
            part = pq.ParquetFile(file, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is damaged: {reason}") from error
    if table not in SCHEMAS:  # of a user's own class, whose columns it names itself
        return part
    if part.schema != SCHEMAS[table]:
        columns = ", ".join(SCHEMAS[table].names)
        raise InputError(f"{path} is not a part of {table}: its columns are {columns}")
    return part


def read_table(run_folder: Path, table: str) -> pa.Table:
    """Return all finished parts of a table as one Arrow table."""
    parts = [read_part(path, table) for path in part_paths(run_folder, table)]
    return whole_table(table, parts)


def whole_table(table: str, parts: Sequence[pa.Table]) -> pa.Table:
    """Return the parts of a table as one; ``concat_tables`` would import pandas."""
    batches = [batch for part in parts for batch in part.to_batches()]
    schema = parts[0].schema if parts else SCHEMAS[table]
    return pa.Table.from_batches(batches, schema).unify_dictionaries()


def stream_rows(run_folder: Path, row_type: type[Row]) -> Iterator[Row]:
    """Yield the rows of a table's finished parts, with one part in memory at a time."""
    (table,) = (name for name, one in TABLES.items() if one.row is row_type)
    for path in part_paths(run_folder, table):
        for batch in read_part(path, table).to_batches(BATCH_ROWS):
            columns = [column.to_pylist() for column in batch.columns]
            yield from map(row_type._make, zip(*columns, strict=True))


def server_kind(run_folder: Path) -> str:
    """Return the kind of server in a run's scenario; empty if it names none."""
    return str(scenario_part(run_folder, "server").get("kind", ""))


def scenario_part(run_folder: Path, name: str) -> Mapping[str, object]:
    """Return one mapping of a run's resolved scenario; empty if it has none. A file
    that was changed after the run is refused."""
    require_scenario(run_folder, read_manifest(run_folder))
    part = scenario_values(run_folder).get(name)
    return part if isinstance(part, dict) else {}


def scenario_values(run_folder: Path) -> Mapping[str, object]:
    """Return the resolved scenario in a run's folder as plain values; no class
    that it names is imported."""
    data = read_document(_scenario_file(run_folder)).data
    return {str(name): value for name, value in data.items()}


def scenario_text(run_folder: Path) -> str:
    """Return the text of the resolved scenario in a run's folder."""
    path = _scenario_file(run_folder)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _scenario_file(run_folder: Path) -> Path:
    """Return the path of a run's scenario; refuse a pipe, which may never end."""
    path = run_folder / "scenario.yaml"
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file")
    return path


def _frame(table: pa.Table) -> pd.DataFrame:
    """Return a frame; integers that may be missing are ``Int64``, never floats."""
    import pandas as pd

    columns = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.nullable and pa.types.is_integer(field.type):
            values = column.fill_null(0).to_numpy()
            missing = column.is_null().to_numpy()
            columns[field.name] = pd.Series(pd.arrays.IntegerArray(values, missing))
        else:
            columns[field.name] = column.to_pandas()
    return pd.DataFrame(columns)

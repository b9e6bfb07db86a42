"""Replays of finished runs: their digests, or the first row that differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fl.memory.code import is_own
from netsim.cosim.inputs import edited_since, in_short
from netsim.cosim.reading import read_scenario
from netsim.cosim.scenario import Scenario
from netsim.errors import InputError
from netsim.runs.manifest import (
    CODE_FOLDER,
    SCENARIO_FILE,
    read_manifest,
    require_scenario,
)
from netsim.scenario.permission import WORKING_TREE, UserCode
from netsim.trace.schemas import SCHEMAS

if TYPE_CHECKING:
    import pandas as pd


def recorded_scenario(
    run: Path, overrides: tuple[str, ...] = (), code: UserCode = WORKING_TREE
) -> Scenario:
    """Return the resolved scenario of a run, with overrides applied."""
    manifest = read_manifest(run)
    if not overrides and manifest.status != "complete":
        raise InputError(
            f"{run} is {manifest.status}, so there is nothing to compare a replay "
            "with; finish it with `netsim run … --resume`"
        )
    require_scenario(run, manifest)
    scenario = read_scenario(run / SCENARIO_FILE, overrides, code)
    if (own := own_edits(run, scenario)) and not overrides:
        raise InputError(own)
    return scenario


def own_edits(run: Path, scenario: Scenario) -> str:
    """Return which of a user's modules are no longer what they were in a run, and what
    to do; empty if all are."""
    edits = edited_since(read_manifest(run), scenario)
    own = [path for path in edits if is_own(path)]
    if not own:
        return ""
    kept, text = run / CODE_FOLDER, f"{in_short(own)} no longer what it was then"
    if kept.is_dir():
        text += f"; read {kept}, then --allow-code replays with that copy"
    return f"{run} was made by other code: {text}"


def first_difference(recorded: Path, replayed: Path) -> str:
    """Return the first row of the first table that differs, with both values."""
    from netsim.runs.run import load_run  # brings pandas

    before, after = load_run(recorded), load_run(replayed)
    for name in (*SCHEMAS, *before.own_tables):
        found = first_row(getattr(before, name), getattr(after, name))
        if found:
            return f"{name}: {found}"
    return "final adapter: the tables agree, the merged numbers do not"


def first_row(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Return the first row of a table that differs, with both values; empty if none."""
    import pandas as pd

    num_common = min(len(before), len(after))
    unknown = before.columns.difference(after.columns, sort=False)
    if len(unknown):
        column = unknown[0]
        raise InputError(f"the recorded trace has a column {column!r} that is unknown")
    left, right = before.head(num_common), after.head(num_common)
    differs = pd.DataFrame(
        {column: _differs(left[column], right[column]) for column in before.columns}
    )
    rows = differs.any(axis=1)
    if rows.any():
        row = int(rows.to_numpy().argmax())
        column = str(differs.columns[int(differs.iloc[row].to_numpy().argmax())])
        values = (one[column].astype(object).iloc[row] for one in (left, right))
        return "row {}, {}: recorded {!r}, replayed {!r}".format(row, column, *values)
    if len(before) != len(after):
        return f"recorded {len(before)} rows, replayed {len(after)}"
    return ""


def _differs(left: pd.Series, right: pd.Series) -> pd.Series:
    left, right = left.astype(object), right.astype(object)
    both_missing = left.isna() & right.isna()
    return ~((left == right).fillna(False).astype(bool) | both_missing)

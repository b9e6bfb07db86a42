"""Compares the values of a trace with those computed again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from netsim.verify.finding import Finding

Row = TypeVar("Row", bound=NamedTuple)
CLOSE = 1e-9  # relative: another computer's mathematics may round otherwise


def is_close(found: float | None, expected: float | None) -> bool:
    """Return whether two numbers, which may be missing, are equal but for round-off."""
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=CLOSE, abs_tol=1e-15)


def check_equal(
    table: str, where: str, *claims: tuple[str, object, object]
) -> Iterator[Finding]:
    """Yield the claims (column, stated, expected) of a row that do not hold."""
    for name, stated, expected in claims:
        if isinstance(stated, float) or isinstance(expected, float):
            is_right = is_close(stated, expected)  # type: ignore[arg-type]
        else:
            is_right = stated == expected
        if not is_right:
            rule = f"{name} must be what scenario, draws and other tables give"
            yield Finding(table, where, rule, f"{stated}, computed {expected}")


def check_column(
    table: str,
    name: str,
    found: npt.NDArray[Any],
    expected: Sequence[object] | npt.NDArray[Any],
    where: Callable[[int], str],
) -> Iterator[Finding]:
    """Yield the first place at which a column differs, and how many do."""
    right = np.asarray(expected, dtype=found.dtype)
    if len(right) != len(found):
        rule = "the number of rows must be that of the scenario"
        yield Finding(table, "", rule, f"{len(found)}, expected {len(right)}")
        return
    if np.issubdtype(found.dtype, np.floating):
        is_right = np.isclose(found, right, rtol=CLOSE, atol=1e-15, equal_nan=True)
    else:
        is_right = found == right
    wrong = np.flatnonzero(~is_right)
    if len(wrong):
        first = int(wrong[0])
        rule = f"{name} must be what the scenario and its draws give"
        detail = f"{found[first]}, computed {right[first]}; {len(wrong)} rows differ"
        yield Finding(table, where(first), rule, detail)


def check_rows(
    table: str, found: Sequence[Row], expected: Sequence[Row]
) -> Iterator[Finding]:
    """Yield rows that differ from those of the scenario, but for round-off."""
    if len(found) != len(expected):
        rule = "the number of rows must be that of the scenario"
        yield Finding(table, "", rule, f"{len(found)}, expected {len(expected)}")
        return
    for number, (row, right) in enumerate(zip(found, expected, strict=True)):
        claims = zip(row._fields, row, right, strict=True)
        yield from check_equal(table, f"row {number}", *claims)

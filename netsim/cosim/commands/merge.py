"""Adapter folders merged from a command line: settings in, plain values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from fl.aggregation import AGGREGATIONS, FloraNA, Method
from fl.peft_folders import LayerReport, MergeReport, merge_folders
from fl.peft_folders.whole_model import ModelPrecision
from netsim.core.quantities import did_you_mean
from netsim.cosim.answers import METHOD
from netsim.errors import InputError
from netsim.scenario import OneOf, Record, UserCode, load_text
from netsim.scenario.installed import installed
from netsim.scenario.permission import WORKING_TREE

__all__ = ["LayerReport", "MergeReport", "ModelPrecision", "Request", "merge_as_asked"]


class _Choice(Record):
    """A merge method with its settings."""

    method: Annotated[
        Method, OneOf(AGGREGATIONS, answers=METHOD, seam="aggregation")
    ] = FloraNA()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a person asked to be merged, as written."""

    folders: tuple[Path, ...]
    out: Path
    method: str
    overrides: tuple[str, ...]
    weights: str | None
    previous: Path | None
    with_model: ModelPrecision | None
    code: UserCode = WORKING_TREE  # what a method of the user's own may import


def merge_as_asked(request: Request) -> MergeReport:
    """Merge adapter folders; what is wrong with them is an ``InputError``."""
    weights = None if request.weights is None else read_weights(request.weights)
    method = read_method(request.method, request.overrides, request.code)
    try:
        return merge_folders(
            request.folders,
            request.out,
            method=method,
            weights=weights,
            previous=request.previous,
            with_model=request.with_model,
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def read_method(kind: str, overrides: Sequence[str], code: UserCode) -> Method:
    """Return the method of a name, with ``key=value`` settings of its own."""
    if ":" not in kind:  # else a class of the user's own
        require_method(kind, [*AGGREGATIONS, *installed("aggregation")])
    settings = tuple(f"method.{override}" for override in overrides)
    text = f"method: {{kind: {kind!r}}}"
    found = load_text(text, _Choice, name="--method", overrides=settings, code=code)
    return found.method


def require_method(kind: str, known: Iterable[str]) -> None:
    """Refuse a name that is not one of the known methods'."""
    names = tuple(known)
    if kind not in names:
        hint = did_you_mean(kind, names)
        raise InputError(f"unknown method {kind!r}{hint} (methods: {', '.join(names)})")


def read_weights(text: str) -> tuple[float, ...]:
    """Return the numbers of ``0.5,0.3,0.2`` or ``1/3,1/3,1/3``."""
    found = []
    for part in text.split(","):
        try:
            found.append(float(Fraction(part.strip())))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise InputError(
                f"--weights: must be numbers or fractions, such as 0.5,0.3,0.2 or "
                f"1/3,1/3,1/3, got {part.strip()!r}"
            ) from None
    return tuple(found)

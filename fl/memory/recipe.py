"""Digests of recipes: a result is named by what went into it, before it exists.

A recipe's digest is the SHA-256 of canonical JSON: it needs no torch and no weights.
What a recipe leaves out, the software and the machine that follow it, is the
``Environment``; both together are the key under which a result may be remembered.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.contract import Arrival, Branch
from fl.record import Record

Json: TypeAlias = (
    "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
)


def digest(kind: str, recipe: Mapping[str, Json]) -> str:
    """Return the digest of one recipe; ``kind`` keeps unlike recipes apart."""
    text = json.dumps(
        [kind, recipe], sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def settings(record: object) -> Json:
    """Return a configuration record as plain values, its defaults written out."""
    assert isinstance(record, Record)  # strategies are typed by what they do
    values: Json = record.model_dump(mode="json")
    return values


def samples_digest(samples: NDArray[np.int64]) -> str:
    """Return the digest of one client's list of samples."""
    return hashlib.sha256(samples.astype("<i8").tobytes()).hexdigest()


def initial_version(
    *,
    base: str,
    lora: Record,
    seed: int,
    code: str,
    sent: Record | None = None,
    start: str | None = None,
) -> str:
    """Return the digest of the adapter before any training; ``start`` is the digest of
    the numbers that it begins with, where they are given, and ``sent`` the payload in
    which it is kept, where it is kept as sent."""
    recipe: dict[str, Json] = {"base": base, "lora": settings(lora), "seed": seed}
    if sent is not None:
        recipe["sent"] = settings(sent)
    given: dict[str, Json] = {} if start is None else {"start": start}
    return digest("initial", recipe | given | {"code": code})


def merged_version(
    method: object,
    previous: str,
    arrivals: Sequence[Arrival],
    *,
    cohorts: Sequence[str],
    server: object,
    code: str,
) -> str:
    """Return the digest of a merge of arrivals, in their order, and of the server's
    step after it.

    ``cohorts`` are the digests of what was trained together, which decides the last
    digits of a result; ``code`` is that of method and step.
    """
    mixed = [one.ticket for one in arrivals if one.is_mixed]
    return digest(
        "merge",
        {
            "method": settings(method),
            "server": settings(server),
            "previous": previous,
            "arrivals": [[one.ticket, repr(float(one.weight))] for one in arrivals],
            "cohorts": list(cohorts),
            "code": code,
            **({"mixed": mixed} if mixed else {}),
        },
    )


def joined_version(
    method: object, previous: str, branches: Sequence[Branch], *, code: str
) -> str:
    """Return the digest of a merge of branches, in their order."""
    return digest(
        "join",
        {
            "method": settings(method),
            "previous": previous,
            "branches": [[one.version, repr(float(one.weight))] for one in branches],
            "code": code,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What follows a recipe: packages and machine may change the last digits of its
    result. The code of this project and a user's own is a part of the recipes."""

    torch: str
    transformers: str
    peft: str
    numpy: str
    machine: str
    device: str
    threads: int
    precision: str

    @classmethod
    def here(cls, *, device: str, threads: int, precision: str) -> Environment:
        """Return the installed software's environment, importing none of it."""
        return cls(
            torch=metadata.version("torch"),
            transformers=metadata.version("transformers"),
            peft=metadata.version("peft"),
            numpy=metadata.version("numpy"),
            machine=platform.machine(),
            device=device,
            threads=threads,
            precision=precision,
        )


def store_key(recipe: str, environment: Environment) -> str:
    """Return the key of a finished result: its recipe in its environment."""
    return digest("stored", {"recipe": recipe, "environment": asdict(environment)})

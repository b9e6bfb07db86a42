"""A class of a user's own on trial: its seam, its answers, and two runs that agree."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from pydantic import BaseModel

from netsim.core.quantities import did_you_mean
from netsim.cosim.commands.choices import SEAMS, Seam
from netsim.cosim.reading import read_scenario
from netsim.cosim.replay import first_difference
from netsim.cosim.run import run_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.scenario import OneOf, UserCode
from netsim.scenario.installed import installed
from netsim.scenario.permission import import_record
from netsim.scenario.repeated import asked_twice

NAMED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
NETWORK, LEARNING = "network-only", "quickstart"  # scenarios to try a class in
OF_LEARNING = frozenset(
    {seam.path for seam in SEAMS if seam.path.startswith("learning.")} | {"ranks"}
)
SHORT: Final[Mapping[str, tuple[str, ...]]] = {
    NETWORK: (),
    LEARNING: ("learning.training.local_steps=1", "population.num_clients=8"),
}
BEFORE: Final[Mapping[str, tuple[str, ...]]] = {  # what a seam needs in its scenario
    "staleness": (
        "server={kind: asynchronous, concurrency: 2, mixing: 0.5, merge_time: 0 s}",
    ),
    "aggregation": ("server.sampling=full",),  # under which every merge works
}


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a trial: how often each method was called, and what is wrong."""

    kind: str
    path: str  # in the scenario
    scenario: str
    asked: Mapping[str, int]
    never_asked: tuple[str, ...]
    digest: str  # of both runs
    wrong: tuple[str, ...]


def try_plug_in(
    given: str,
    *,
    seam: str | None = None,
    scenario: str | None = None,
    overrides: Sequence[str] = (),
    code: UserCode,
) -> Trial:
    """Run two rounds with a class, twice, and ask its methods everything twice.

    ``given`` is its kind, or a mapping of YAML with its settings. A wrong answer is an
    ``InputError``. Nothing that was learned earlier is used.
    """
    kind = _kind(given)
    cls = _loaded(kind, find_scenario(scenario or NETWORK).parent, code)
    chosen = _seam(kind, cls, seam)
    answers = one_ofs()[chosen.name].answers
    name = scenario or (LEARNING if chosen.path in OF_LEARNING else NETWORK)
    own = () if scenario else (*SHORT[name], *BEFORE.get(chosen.name, ()))
    settings = ("stop.rounds=2", *own, f"{chosen.path}={given}", *overrides)
    config = read_scenario(find_scenario(name), settings, code)
    with (
        tempfile.TemporaryDirectory(prefix="netsim-plug-in-") as scratch,
        asked_twice(cls, answers) as notes,
    ):
        runs = [Path(scratch) / number for number in ("first", "second")]
        first, second = (run_scenario(config, run, reuse=False) for run in runs)
        wrong = [f"{kind}.{method} {text}" for method, text in notes.wrong.items()]
        if first.digest != second.digest:
            wrong.append(f"a second run differs: {first_difference(*runs)}")
    return Trial(
        kind=kind,
        path=chosen.path,
        scenario=name,
        asked={name: times for name, times in notes.asked.items() if times},
        never_asked=tuple(name for name, times in notes.asked.items() if not times),
        digest=first.digest,
        wrong=tuple(wrong),
    )


def _loaded(kind: str, folder: Path, code: UserCode) -> type[BaseModel]:
    try:
        return import_record(kind, folder, code)
    except ImportError as error:
        raise InputError(f"--plug-in {kind}: {error}") from error


def one_ofs() -> dict[str, OneOf]:
    """Return the field of every seam of a scenario, by the seam's name."""
    found: dict[str, OneOf] = {}
    waiting, seen = list[type[BaseModel]]([Scenario]), set[object]()
    while waiting:
        model = waiting.pop()
        if model not in seen:
            seen.add(model)
            for field in model.model_fields.values():
                for part in _within([field.annotation, *field.metadata]):
                    if isinstance(part, OneOf):
                        found.setdefault(part.seam, part)
                        waiting += part.choices.values()
                    elif isinstance(part, type) and issubclass(part, BaseModel):
                        waiting.append(part)
    return found


def _within(annotations: Sequence[object]) -> Iterator[object]:
    """Yield annotations and all that they are made of."""
    for one in annotations:
        yield one
        yield from _within(get_args(one))


def _kind(given: str) -> str:
    """Return ``module:Class`` of itself, of settings, or of an installed kind."""
    found = NAMED.search(given)
    if found is not None:
        return found.group()
    known = {
        kind: place for seam in SEAMS for kind, place in installed(seam.name).items()
    }
    if given not in known:
        hint = did_you_mean(given, known)
        raise InputError(
            f"--plug-in {given}: must be module:Class, {{kind: 'module:Class', ...}} "
            f"with its settings, or the kind of an installed plug-in{hint}"
        )
    return known[given]


def _seam(kind: str, cls: type[BaseModel], asked: str | None) -> Seam:
    """Return the seam that a class fits: the one asked for, that of a shipped class
    which it extends, or the only one whose members it has."""
    by_name = {seam.name: seam for seam in SEAMS}
    if asked is not None:
        if asked not in by_name:
            hint = did_you_mean(asked, by_name)
            raise InputError(
                f"--seam {asked}: unknown seam{hint} (seams: {', '.join(by_name)})"
            )
        return by_name[asked]
    extended = [s for s in SEAMS if set(s.choices.values()) & set(cls.__mro__)]
    lacking = {name: [*one.lacks(cls)] for name, one in one_ofs().items()}
    fitting = extended or [seam for seam in SEAMS if not lacking[seam.name]]
    if not fitting:
        nearest = min(lacking, key=lambda name: (-_answered(name, cls), lacking[name]))
        raise InputError(
            f"--plug-in {kind} fits no seam; as {nearest} it {lacking[nearest][0]}; "
            "--seam names another"
        )
    if len(fitting) > 1:
        names = " or ".join(seam.name for seam in fitting)
        raise InputError(f"--plug-in {kind} may be {names}: choose by --seam")
    return fitting[0]


def _answered(seam: str, cls: type[BaseModel]) -> int:
    """Return how many of a seam's questions a class answers."""
    return len(one_ofs()[seam].answers.keys() & set(dir(cls)))

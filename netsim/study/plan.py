"""The runs of a study: every scenario resolved and checked before the first run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from netsim.cosim.reading import read_scenario
from netsim.cosim.reuse import verdicts
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.runs.manifest import FILE_NAME, Manifest, read_manifest
from netsim.scenario import UserCode, dump, load, scenario_digest
from netsim.scenario.permission import WORKING_TREE
from netsim.scenario.source import Document, KeyPath, Position, read_document
from netsim.scenario.wording import describe
from netsim.study.design import Combination, combinations
from netsim.study.record import Choice, Override, StudyConfig

CONTINUED = "    "  # a line that belongs to the message above it


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a study: where it is written and what it shares learning with."""

    combination: Combination
    scenario: Scenario
    group: int  # combinations of a group train the same, seed by seed
    folder: Path
    base_folder: Path  # of the base scenario

    @property
    def title(self) -> str:
        """Return what the run is called."""
        return f"{self.combination.label}, seed {self.scenario.seed}"

    @property
    def earlier(self) -> Manifest | None:
        """Return the manifest of the run that the folder holds, if it holds one."""
        has_run = (self.folder / FILE_NAME).exists()
        return read_manifest(self.folder) if has_run else None

    @property
    def is_finished(self) -> bool:
        """Return whether the folder holds the complete run of this very scenario."""
        earlier = self.earlier
        if earlier is None or earlier.status != "complete":
            return False
        digest = hashlib.sha256(dump(self.scenario).encode()).hexdigest()
        return earlier.scenario_digest == digest


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """A study whose scenarios are all valid; ``runs`` has seeds varying first."""

    config: StudyConfig
    folder: Path
    runs: tuple[PlannedRun, ...]
    code: UserCode  # what the runs may import

    def leaders(self) -> list[PlannedRun]:
        """Return the first run of every group and seed: those that train."""
        first: dict[tuple[int, int], PlannedRun] = {}
        for run in self.runs:
            first.setdefault((run.group, run.scenario.seed), run)
        return list(first.values())

    def followers(self) -> list[PlannedRun]:
        """Return the runs that find all their learning done by a leader."""
        leading = {run.folder for run in self.leaders()}
        return [run for run in self.runs if run.folder not in leading]


def read_study(path: Path) -> tuple[StudyConfig, Document]:
    """Return a study file as a record, whose scenario is a whole path or a shipped
    name, and where the file says what."""
    config = load(path, StudyConfig)
    scenario = whole_path(config.scenario, path)
    return config.model_copy(update={"scenario": scenario}), read_document(path)


def whole_path(given: str, path: Path) -> str:
    """Return the whole path of a scenario in the folder of the file ``path``, else
    what is given: the name of a shipped scenario."""
    own = path.parent / given
    return str(own.resolve()) if own.is_file() else given


@dataclass(frozen=True, slots=True)
class Instead:
    """Options of a command line that change a study: further overrides, seeds, and the
    only variants of some axes."""

    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    only: Choice = field(default_factory=dict)

    def applied(self, config: StudyConfig) -> StudyConfig:
        """Return the study with these; InputError where they cannot be."""
        said = config.model_dump()
        said["overrides"] = (*config.overrides, *self.overrides)
        said["seeds"] = self.seeds or config.seeds
        said["only"] = {**config.only, **self.only}
        try:
            return StudyConfig.model_validate(said)
        except ValidationError as error:
            reasons = map(describe, error.errors(include_url=False))
            raise InputError(f"--set, --seeds, --only: {'; '.join(reasons)}") from error


def plan_study(
    path: Path,
    parent: Path,
    out: Path | None = None,
    *,
    instead: Instead = Instead(),
    code: UserCode = WORKING_TREE,
) -> StudyPlan:
    """Read a study and resolve all its scenarios; what is wrong is one InputError.

    Without ``out`` the folder is ``<name>-<digest>`` under ``parent``; more seeds,
    other targets or another baseline stay in the same folder. Classes of a user's own
    are imported where ``code`` permits it.
    """
    config, document = read_study(path)
    config = instead.applied(config)
    places = Places(document)
    try:
        found = combinations(config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    scenarios = _resolved(config, found, places, code)
    digest = _digest(found, scenarios)
    folder = out if out is not None else parent / f"{config.name}-{digest}"
    groups = learning_groups(scenarios)
    runs = tuple(
        PlannedRun(
            one,
            scenario.model_copy(update={"seed": seed}),
            group,
            folder / "runs" / one.folder / str(seed),
            places.base(config.scenario).parent,
        )
        for one, scenario, group in zip(found, scenarios, groups, strict=True)
        for seed in config.seeds
    )
    return StudyPlan(config, folder, runs, code)


def learning_groups(scenarios: list[Scenario]) -> list[int]:
    """Return per scenario the number of its group: within one, all learning is the
    same but for the seed. Where nothing is learned every scenario is its own."""
    firsts: list[Scenario] = []
    numbers = []
    for scenario in scenarios:
        shared = (n for n, first in enumerate(firsts) if _is_shared(first, scenario))
        number = next(shared, len(firsts))
        if number == len(firsts):
            firsts.append(scenario)
        numbers.append(number)
    return numbers


def _is_shared(first: Scenario, other: Scenario) -> bool:
    if any("trains-nothing" in one.learning.traits for one in (first, other)):
        return False
    return all(verdict.effect == "nothing" for verdict in verdicts(first, other))


def _digest(found: Sequence[Combination], scenarios: Sequence[Scenario]) -> str:
    """Return 12 hexadecimal digits of what is compared, whatever the seeds."""
    lines = [
        f"{one.label}\0{scenario_digest(scenario.model_copy(update={'seed': 0}))}"
        for one, scenario in zip(found, scenarios, strict=True)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _resolved(
    config: StudyConfig, found: list[Combination], places: Places, code: UserCode
) -> list[Scenario]:
    """Return the scenario of every combination; refuse all errors of all at once."""
    common = tuple(
        Override(t, ("overrides", i)) for i, t in enumerate(config.overrides)
    )
    scenarios: list[Scenario] = []
    wrong: dict[str, list[str]] = {}
    path = places.base(config.scenario)
    for one in found:
        overrides = (*common, *one.overrides)
        seed = f"seed={config.seeds[0]}"
        try:
            texts = (*(o.text for o in overrides), seed)
            scenario = read_scenario(path, texts, code)
            if config.targets:
                require_scores(scenario, "targets: need")
            scenarios.append(scenario)
        except InputError as error:
            for message in places.messages(str(error), overrides):
                wrong.setdefault(message, []).append(one.label)
    if wrong:
        raise InputError("\n".join(_where(wrong, len(found))))
    return scenarios


def require_scores(scenario: Scenario, what: str) -> None:
    """Refuse a goal that needs metrics where nothing is trained."""
    if "trains-nothing" in scenario.learning.traits:
        raise InputError(f"{what} learning: nothing is scored without it")


def _where(wrong: Mapping[str, list[str]], num_all: int) -> Iterator[str]:
    """Yield each message, with the combinations that it is about unless it is all."""
    for message, labels in wrong.items():
        if len(labels) == num_all:
            yield message
            continue
        shown = "; ".join(labels[:3])
        more = f"; and {len(labels) - 3} more" if len(labels) > 3 else ""
        yield f"{message}\n{CONTINUED}(in {shown}{more})"


@dataclass(frozen=True, slots=True)
class Places:
    """Adds to messages about a scenario their place in the study file."""

    document: Document

    def base(self, given: str) -> Path:
        """Return the base scenario's file."""
        try:
            return find_scenario(given)
        except InputError as error:
            raise InputError(
                self._point(("scenario",), f"scenario: {error}")
            ) from error

    def messages(self, text: str, overrides: tuple[Override, ...]) -> Iterator[str]:
        """Yield the messages of a text; a message about an override gets its place."""
        blocks: list[list[str]] = []
        for line in text.splitlines():
            if line.startswith(CONTINUED) and blocks:
                blocks[-1].append(line)
            else:
                blocks.append([line])
        for head, *rest in blocks:
            yield "\n".join([self._placed(head, overrides), *rest])

    def _placed(self, line: str, overrides: tuple[Override, ...]) -> str:
        for text, place in reversed(overrides):
            label = f"--set {text}: "
            if line.startswith(label) and place in self.document.values:
                return self._point(place, f"{text}: {line.removeprefix(label)}")
        key = line.partition(": ")[0]
        if key in ("targets", "target", "objective"):
            return self._point((key,), line)
        return line

    def _point(self, place: KeyPath, message: str) -> str:
        at = self.document.values.get(place, Position(1, 1))
        return self.document.source.point(at, message)

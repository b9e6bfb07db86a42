"""The runs of a search: the scenario and all ends of ranges, checked first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fl.contract import METRICS
from netsim.cosim.reading import read_scenario
from netsim.cosim.scenario import Scenario
from netsim.errors import InputError
from netsim.scenario import UserCode, dump, load
from netsim.scenario.permission import WORKING_TREE
from netsim.scenario.source import read_document
from netsim.study.plan import Places, require_scores, whole_path
from netsim.study.record import Override
from netsim.tune.search import TuneConfig


@dataclass(frozen=True, slots=True)
class TunePlan:
    """A search whose settings are all valid, each with the others as they are."""

    config: TuneConfig
    folder: Path
    base: Path  # the base scenario's file
    code: UserCode  # what the runs may import

    def scenario(self, settings: Mapping[str, str]) -> Scenario:
        """Return the scenario of a trial, with the first seed; InputError where its
        settings do not go together."""
        overrides = [f"{path}={value}" for path, value in settings.items()]
        return _Trier(self.config, self.base, self.code).scenario(*overrides)

    def run_folder(self, trial: int, seed: int) -> Path:
        """Return where a run of a trial is."""
        return self.folder / "runs" / f"{trial:03d}" / str(seed)


def plan_tune(
    path: Path,
    parent: Path,
    out: Path | None = None,
    *,
    code: UserCode = WORKING_TREE,
) -> TunePlan:
    """Read a tune file and try the scenario, and each setting's extremes in it; what is
    wrong is one InputError.

    Without ``out`` the folder is ``<name>-<digest>`` under ``parent``; more trials stay
    in the same folder. Classes of a user's own are imported where ``code`` permits it.
    """
    config = load(path, TuneConfig)
    scenario = whole_path(config.scenario, path)
    config = config.model_copy(update={"scenario": scenario})
    places = Places(read_document(path))
    base = places.base(config.scenario)
    as_is = _checked(_Trier(config, base, code), places)
    text = f"{dump(config.model_copy(update={'trials': 1}))}\0{dump(as_is)}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = out if out is not None else parent / f"{config.name}-{digest}"
    return TunePlan(config, folder, base, code)


@dataclass(frozen=True, slots=True)
class _Trier:
    """Reads the base scenario with the settings of a trial."""

    config: TuneConfig
    base: Path
    code: UserCode

    def scenario(self, *overrides: str) -> Scenario:
        """Return the scenario with the first seed; it ends when the target is met."""
        config = self.config
        texts = (*config.overrides, *overrides, f"seed={config.seeds[0]}")
        scenario = read_scenario(self.base, texts, self.code)
        if config.target is None or "trains-nothing" in scenario.learning.traits:
            return scenario
        target = f"stop.target={json.dumps(config.target.model_dump())}"
        return read_scenario(self.base, (*texts, target), self.code)


def _checked(trier: _Trier, places: Places) -> Scenario:
    """Return the scenario as it is; refuse all that is wrong at once."""
    config = trier.config
    common = [Override(t, ("overrides", i)) for i, t in enumerate(config.overrides)]
    tried: list[Override | None] = [None]
    for path, setting in config.search.items():
        for text, place in setting.extremes():
            tried.append(Override(f"{path}={text}", ("search", path, *place)))
    wrong: dict[str, None] = {}
    as_is: Scenario | None = None
    for one in tried:
        try:
            found = trier.scenario(*([] if one is None else [one.text]))
            _require_scores(config, found)
            as_is = as_is or found
        except InputError as error:
            overrides = (*common, *([] if one is None else [one]))
            wrong |= dict.fromkeys(places.messages(str(error), overrides))
    if wrong:
        raise InputError("\n".join(wrong))
    assert as_is is not None
    return as_is


def _require_scores(config: TuneConfig, scenario: Scenario) -> None:
    """Refuse a goal that needs metrics where nothing is learned."""
    if config.target is not None:
        require_scores(scenario, "target: needs")
    if config.measure in METRICS:
        require_scores(scenario, "objective: needs")

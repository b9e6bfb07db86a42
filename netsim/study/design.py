"""Which runs a study has: the combinations of its axes' variants."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netsim.errors import InputError
from netsim.study.record import Override, StudyConfig, folder_name


@dataclass(frozen=True, slots=True)
class Combination:
    """One variant of every axis: what is compared, with every seed."""

    choice: Mapping[str, str]  # the variant of every axis
    overrides: tuple[Override, ...]
    label: str  # what it is called; no other has the same
    baseline: str  # the label of the combination that it is compared with

    @property
    def folder(self) -> str:
        """Return the folder of its runs."""
        return "+".join(map(folder_name, self.choice.values()))


def combinations(config: StudyConfig) -> list[Combination]:
    """Return the combinations that are neither excluded nor left out by ``only``, the
    last axis varying first."""
    labels = joined_labels([axis.labels for axis in config.axes])
    kept = []
    for indices in itertools.product(*(range(len(a.labels)) for a in config.axes)):
        choice = {
            axis.title: axis.labels[index]
            for axis, index in zip(config.axes, indices, strict=True)
        }
        if any(ex.items() <= choice.items() for ex in config.exclude):
            continue
        overrides = tuple(
            Override(text, ("axes", number, *place))
            for number, (axis, index) in enumerate(
                zip(config.axes, indices, strict=True)
            )
            for text, place in axis.overrides(index)
        )
        baseline = {**choice, **config.baseline}
        label, other = (labels[tuple(one.values())] for one in (choice, baseline))
        kept.append(Combination(choice, overrides, label, other))
    _require_baselines(kept)
    return _asked_for(config, kept)


def _asked_for(
    config: StudyConfig, combinations: list[Combination]
) -> list[Combination]:
    """Return the combinations that ``only`` names, and their baselines; refuse none,
    and more runs than the budget."""
    asked = [one for one in combinations if config.only.items() <= one.choice.items()]
    if not asked:
        raise InputError("only: names a combination that `exclude` leaves out")
    labels = {label for one in asked for label in (one.label, one.baseline)}
    kept = [one for one in combinations if one.label in labels]
    num_runs = len(kept) * len(config.seeds)
    if config.budget is not None and num_runs > config.budget:
        raise InputError(
            f"budget: must be at least {num_runs}, the number of runs "
            f"({len(kept)} combinations with {len(config.seeds)} seeds), "
            f"got {config.budget}"
        )
    return kept


def joined_labels(labels: Sequence[Sequence[str]]) -> dict[tuple[str, ...], str]:
    """Return what every choice of one label per axis is called: the labels, in quotes
    where two choices would be called the same."""
    choices = list(itertools.product(*labels))
    names = [", ".join(choice) for choice in choices]
    if len(set(names)) < len(names):
        names = [", ".join(map(repr, choice)) for choice in choices]
    return dict(zip(choices, names, strict=True))


def _require_baselines(kept: list[Combination]) -> None:
    """Refuse a study without runs or without a baseline."""
    if not kept:
        raise InputError("exclude: leaves no combination to run")
    labels = {combination.label for combination in kept}
    for combination in kept:
        if combination.baseline not in labels:
            raise InputError(
                f"exclude: leaves out {combination.baseline!r}, the baseline of "
                f"{combination.label!r}; exclude both or neither"
            )

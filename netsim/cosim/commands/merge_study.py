"""Every merge on the recorded client updates of one finished run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, cast

import pandas as pd

from fl.aggregation import AGGREGATIONS, Method, Pair
from fl.contract import Score
from fl.federation.versions import Version, refolded
from fl.merge_study import Evaluator, Round, Trial, compare
from netsim.core.engine import rare_garbage_collection
from netsim.cosim.commands.merge import read_method
from netsim.cosim.learning_kinds import LoraLearning
from netsim.cosim.replay import recorded_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.world import build_population, build_stage, play
from netsim.errors import InputError
from netsim.runs.manifest import read_manifest
from netsim.runs.run import load_run
from netsim.scenario import UserCode
from netsim.trace.writer import Recorder

if TYPE_CHECKING:
    from fl.federation.merging import Component
    from fl.model.adapters import Adapter
    from netsim.cosim.learner import FederatedLearner

ERRORS = ("relative_error", "update_relative_error")


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeStudy:
    """How every method merges the same updates.

    ``errors`` has one row per method, round and layer that was compared, ``merges``
    one row per method and round, ``methods`` one row per method. Loss and accuracy are
    of the merged models, and missing where these were not evaluated.
    """

    errors: pd.DataFrame
    merges: pd.DataFrame
    methods: pd.DataFrame
    rounds: tuple[int, ...]
    steps_trained: int
    steps_reused: int
    is_same: bool  # whether the simulation came out as recorded


def compare_merges(
    run: Path,
    *,
    rounds: Sequence[int] | None = None,
    methods: Sequence[str] | None = None,
    evaluate: bool = False,
    allow_code: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> MergeStudy:
    """Simulate a finished run again and merge its clients' updates by every method.

    Learning comes from the store; what it no longer holds is trained again, which
    ``say`` reports, with the user code that runs. ``rounds`` are by id, all by default;
    ``methods`` by name, or ``module:Class`` for one of the user's own. With
    ``evaluate`` every merged model is evaluated on the test split. ``allow_code`` is as
    for ``netsim.run``: it permits the code that the run keeps.
    """
    code = UserCode(allows_given=allow_code, tell=say)
    scenario = recorded_scenario(run, code=code)
    learning = _real_learning(scenario, run)
    merged_rounds = list(dict.fromkeys(load_run(run).merges["round_id"].tolist()))
    chosen = _chosen_rounds(rounds, merged_rounds)
    compared = _methods(methods, learning, code)
    learner = learning.learner(
        scenario.population.num_clients, scenario.seed, reuse=True
    )
    observer = _Observer(
        scenario, learner, compared, merged_rounds, chosen, evaluate, say
    )
    learner.observe_merges(observer.note)
    with closing(learner), tempfile.TemporaryDirectory(prefix="netsim-merges-") as at:
        digests = _simulate(scenario, learner, Path(at))
    return MergeStudy(
        errors=observer.errors(),
        merges=observer.merges(),
        methods=observer.summary(),
        rounds=tuple(sorted(chosen)),
        steps_trained=learner.steps_trained,
        steps_reused=learner.steps_reused,
        is_same=digests == dict(read_manifest(run).table_digests),
    )


def _simulate(
    scenario: Scenario, learner: FederatedLearner, folder: Path
) -> dict[str, str]:
    """Play a scenario and return the digests of its tables."""
    population = build_population(scenario, learner)
    recorder = Recorder(folder)
    with rare_garbage_collection():
        stage = build_stage(scenario, learner, population, recorder, lambda _: None)
        play(stage, scenario)
    return dict(recorder.close().table_digests)


def _real_learning(scenario: Scenario, run: Path) -> LoraLearning:
    learning = scenario.learning.federated
    if learning is None:
        raise InputError(f"{run} has no updates to merge: nothing was learned in it")
    return learning


def _chosen_rounds(wanted: Sequence[int] | None, merged: Sequence[int]) -> set[int]:
    if not merged:
        raise InputError("no round of this run merged anything")
    for round_id in wanted or ():
        if round_id not in merged:
            near = min(merged, key=lambda known: abs(known - round_id))
            raise InputError(
                f"--rounds: nothing was merged in round {round_id}, the nearest is "
                f"{near} (rounds {merged[0]} to {merged[-1]})"
            )
    return set(merged if wanted is None else wanted)


def _methods(
    names: Sequence[str] | None, learning: LoraLearning, code: UserCode
) -> list[Method]:
    """Return the methods as they are by default, the run's own as it was set; those
    installed, and classes of the user's own, where they are named."""
    own = learning.aggregation
    found: dict[str, Method] = {kind: cls() for kind, cls in AGGREGATIONS.items()}
    found[own.kind] = own
    for name in names or ():
        if name not in found:
            one = read_method(name, (), code)
            found[name] = own if type(one) is type(own) else one
    chosen = [found[name] for name in dict.fromkeys(names or found)]
    for one in chosen:
        if sum(other.kind == one.kind for other in chosen) > 1:
            raise InputError(f"--methods: two classes have the kind {one.kind!r}")
    return chosen


@dataclass
class _Observer:
    """Collects every method's trial of the chosen rounds."""

    scenario: Scenario
    learner: FederatedLearner
    methods: Sequence[Method]
    merged_rounds: Sequence[int]
    chosen: set[int]
    evaluates: bool
    say: Callable[[str], None]
    trials: list[tuple[int, Trial]] = field(default_factory=list)
    _num_seen: int = 0
    _has_reported: bool = False

    def note(self, components: Sequence[Component], before: Version, turn: int) -> None:
        """Merge these by all methods, if the round is among the chosen ones."""
        index, known = self._num_seen, self.merged_rounds
        self._num_seen += 1
        self._report_training()
        if index >= len(known) or known[index] not in self.chosen:
            return
        learning = cast(LoraLearning, self.scenario.learning)
        merge = Round(
            components=tuple(components),
            previous=before.adapter,
            own=learning.aggregation,
            payload=learning.payload,
            round_index=turn - 1,
            rank=learning.lora.r,
            compression=learning.compression,
            is_asynchronous="merges-old-versions" in self.scenario.server.traits,
        )
        evaluate = self._evaluator(before) if self.evaluates else None
        trials = compare(merge, self.methods, evaluate)
        self.trials += [(known[index], one) for one in trials]

    def _evaluator(self, before: Version) -> Evaluator:
        """Return how good the models are that merges make of a version."""

        def judged(adapter: Adapter, folds: Mapping[str, Pair]) -> Score:
            return self.learner.measured(Version(adapter, refolded(before, folds)))

        return judged

    def _report_training(self) -> None:
        if self.learner.steps_trained and not self._has_reported:
            self._has_reported = True
            self.say("updates are no longer remembered: training them again")

    def errors(self) -> pd.DataFrame:
        """Return one row per method, round and layer."""
        return pd.DataFrame(
            [
                {"round_id": round_id, **one._asdict()}
                for round_id, trial in self.trials
                for one in trial.layers
            ],
            columns=["round_id", "method", "layer", *ERRORS],
        )

    def merges(self) -> pd.DataFrame:
        """Return one row per method and round that was compared."""
        return pd.DataFrame(
            [
                {
                    "round_id": round_id,
                    "method": trial.method,
                    "mean_error": mean(one.relative_error for one in trial.layers),
                    "host_s": trial.host_s,
                    "loss": trial.metrics and trial.metrics.loss,
                    "accuracy": trial.metrics and trial.metrics.accuracy,
                }
                for round_id, trial in self.trials
                if trial.status == "compared"
            ],
            columns=["round_id", "method", "mean_error", "host_s", "loss", "accuracy"],
        )

    def summary(self) -> pd.DataFrame:
        """Return one row per method: those compared first, by mean error."""
        errors = self.errors()
        rows = [
            _summary(
                [trial for _, trial in self.trials if trial.method == method.kind],
                errors[errors["method"] == method.kind],
                sorted(self.chosen),
            )
            for method in self.methods
        ]
        frame = pd.DataFrame(rows)
        order = {"compared": 0, "cannot": 1, "trains otherwise": 2}
        keys = frame["status"].map(order)
        return (
            frame.assign(_order=keys)
            .sort_values(["_order", "mean_error", "method"])
            .drop(columns="_order")
            .reset_index(drop=True)
        )


def _summary(
    trials: Sequence[Trial], errors: pd.DataFrame, rounds: Sequence[int]
) -> Mapping[str, object]:
    """Return one method's row: without errors, where some round it could not merge."""
    odd = next((trial for trial in trials if trial.status != "compared"), trials[0])
    if odd.status != "compared":
        errors = errors.iloc[:0]
    by_round = errors.groupby("round_id")["relative_error"].mean()
    marks = {
        "first_error": rounds[0],
        "middle_error": rounds[len(rounds) // 2],
        "last_error": rounds[-1],
    }
    return {
        "method": odd.method,
        "status": odd.status,
        "mean_error": errors["relative_error"].mean(),
        "worst_error": errors["relative_error"].max(),
        **{name: by_round.get(mark, float("nan")) for name, mark in marks.items()},
        "mean_update_error": errors["update_relative_error"].mean(),
        "upload_bits": mean(trial.upload_bits for trial in trials),
        "download_bits": mean(trial.download_bits for trial in trials),
        "host_s": mean(trial.host_s for trial in trials),
        **_scores([trial.metrics for trial in trials if trial.metrics]),
        "reason": odd.reason,
    }


def _scores(found: Sequence[Score]) -> Mapping[str, float]:
    """Return the mean loss and accuracy of merged models, where any was evaluated."""
    if not found:
        return {"mean_loss": float("nan"), "mean_accuracy": float("nan")}
    return {
        "mean_loss": mean(metrics.loss for metrics in found),
        "mean_accuracy": mean(metrics.accuracy for metrics in found),
    }

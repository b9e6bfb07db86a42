"""The metrics that a server app computes: those that its strategy aggregates, and those
of its own evaluation."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from numbers import Real
from typing import Any, NamedTuple

from flwr.app import ArrayRecord
from flwr.common import Parameters
from flwr.compat.common.recorddict_compat import parameters_to_arrayrecord
from flwr.server.strategy import Strategy as OlderStrategy
from flwr.serverapp.strategy import Strategy

from fl.contract import METRICS, Score
from fl.flower.app_time import replaced

SERVER_SPLIT = "test"
SPLITS = {"aggregate_train": "train", "aggregate_evaluate": "clients"}
OLDER_SPLITS = {
    "aggregate_fit": "train",
    "aggregate_evaluate": "clients",
    "evaluate": SERVER_SPLIT,
}
_BEFORE = re.compile(r"^(eval\w*|test|val\w*|central\w*|global|server|avg|mean)_")
_SHORT = {"acc": "accuracy", "ppl": "perplexity", "em": "exact_match"}


class Report(NamedTuple):
    """Metrics of a version, on the split that they were computed on."""

    split: str
    metrics: Mapping[str, object]


class Reports:
    """Listens to the strategies of an app, whatever their class is."""

    def __init__(self) -> None:
        self.arrays: ArrayRecord | None = None  # that a strategy aggregated last
        self._new: list[Report] = []
        self._depth = 0

    def take(self, names: Mapping[str, str]) -> list[Score]:
        """Return what was reported since the last call; ``names`` gives the app's names
        of our metrics, where they differ from what is usual."""
        new, self._new = self._new, []
        return [score for one in new if (score := _score(one, names)) is not None]

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear of all strategies, those of classes that are made meanwhile too."""
        with ExitStack() as stack:
            for root, splits in ((Strategy, SPLITS), (OlderStrategy, OLDER_SPLITS)):
                stack.enter_context(self._heard_below(root, splits))
            yield

    @contextmanager
    def _heard_below(self, root: type, splits: Mapping[str, str]) -> Iterator[None]:
        def wrap(cls: type, /) -> None:
            found = {
                name: self._wrapped(splits.get(name), method)
                for name in (*splits, "start")
                if inspect.isfunction(method := vars(cls).get(name))
            }
            stack.enter_context(replaced(cls, found))

        with ExitStack() as stack:
            for one in _and_below(root):
                wrap(one)
            stack.enter_context(
                replaced(root, {"__init_subclass__": classmethod(wrap)})
            )
            yield

    def _wrapped(
        self, split: str | None, method: Callable[..., Any]
    ) -> Callable[..., Any]:
        if split is None:
            return self._with_evaluation(method)

        @functools.wraps(method)
        def aggregate(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            try:
                found = method(*args, **kwargs)
            finally:
                self._depth -= 1
            if not self._depth:  # of a strategy that wraps another: the outer one's
                self._note(split, found)
            return found

        return aggregate

    def _with_evaluation(self, start: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(start)

        @functools.wraps(start)
        def started(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            evaluate = bound.arguments.get("evaluate_fn")
            if evaluate is not None and not hasattr(evaluate, "is_heard"):
                bound.arguments["evaluate_fn"] = self._evaluating(evaluate)
            result = start(*bound.args, **bound.kwargs)
            if getattr(result, "arrays", None):
                self.arrays = result.arrays
            return result

        return started

    def _evaluating(self, evaluate: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(evaluate)
        def evaluated(server_round: int, arrays: ArrayRecord) -> Any:
            found = evaluate(server_round, arrays)
            self._note(SERVER_SPLIT, found)
            return found

        evaluated.is_heard = True  # type: ignore[attr-defined]
        return evaluated

    def _note(self, split: str, found: Any) -> None:
        first, metrics = found if isinstance(found, tuple) else (None, found)
        if isinstance(first, Parameters):
            first = parameters_to_arrayrecord(first, keep_input=True)
        if isinstance(first, ArrayRecord):
            self.arrays = first
        elif first is not None:  # the loss of the older interface
            metrics = {"loss": first, **metrics}
        if metrics:
            self._new.append(Report(split, dict(metrics)))


def _and_below(cls: type) -> Iterator[type]:
    yield cls
    below: list[type] = cls.__subclasses__()
    for one in below:
        yield from _and_below(one)


def usual_name(name: str, split: str) -> str:
    """Return the metric that an app's name usually means on a split, as ``train_loss``;
    the name itself if none."""
    plain = _BEFORE.sub("", re.sub(r"[^a-z]+", "_", name.lower()))
    plain = plain.removeprefix(f"{split}_")
    return _SHORT.get(plain, plain)


def _score(report: Report, names: Mapping[str, str]) -> Score | None:
    """Return the metrics that a trace has; None where there are none of them."""
    values = {
        name: float(value)
        for name, value in report.metrics.items()
        if isinstance(value, Real)
    }
    found = {
        usual_name(name, report.split): value
        for name, value in reversed(values.items())
    }
    found |= {
        ours: values[theirs] for ours, theirs in names.items() if theirs in values
    }
    if not set(found) & set(METRICS):
        return None
    return Score(
        report.split,
        0,
        found.get("loss", math.nan),
        found.get("accuracy", math.nan),
        found.get("perplexity"),
        found.get("exact_match"),
    )

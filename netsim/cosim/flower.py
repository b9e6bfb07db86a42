"""Learning by a Flower app, which brings its own server, clients and data."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictBool

from fl.contract import Metric
from netsim.core.quantities import Bytes
from netsim.cosim.declared_time import DeclaredTime
from netsim.cosim.workers import ALONE, Workers
from netsim.errors import InputError, Refusal
from netsim.learner.learner import Learner
from netsim.scenario import Record
from netsim.scenario.file_path import FilePath
from netsim.scenario.permission import app_folder
from netsim.scenario.traits import Traits

if TYPE_CHECKING:
    from netsim.cosim.flower_learner import FlowerLearner

Split = Literal["test", "clients", "train"]
AppFolder = Annotated[FilePath, AfterValidator(app_folder)]


class FlowerLearning(Record):
    """A Flower app: its server and clients run unchanged, on the simulated clock.

    The messages have the bytes in which Flower serialises them. A client's work is
    counted as torch does it, unless ``compute`` declares its time, by what is asked:
    ``train``, ``evaluate``, ``query`` or their actions. ``metrics`` gives the app's
    names of ours; those of ``splits`` land in ``evals``: ``test`` is the server's own
    evaluation, ``clients`` and ``train`` are what the strategy aggregates.
    """

    federated: ClassVar[None] = None
    traits: ClassVar[Traits] = {"is-an-app": ""}
    kind: Literal["flower"] = "flower"
    app: AppFolder
    run_config: Mapping[str, StrictBool | int | float | str] = {}
    compute: Mapping[str, DeclaredTime] = {}
    metrics: Mapping[Metric, str] = {}
    splits: tuple[Split, ...] = ("test", "clients")
    memory_bytes: Annotated[Bytes, Field(ge=0)] = 0  # that a client needs

    def refusals(self, num_clients: int) -> Iterator[Refusal]:
        from fl.flower.project import Project  # brings tomllib

        try:
            Project.read(Path(self.app), self.run_config)
        except ValueError as error:
            yield ("app",), str(error)

    def learner(
        self, num_clients: int, seed: int, *, reuse: bool, workers: Workers = ALONE
    ) -> FlowerLearner:
        if importlib.util.find_spec("flwr") is None:
            raise InputError(
                "learning.kind: a Flower app needs the package `flwr`: "
                "pip install -e '.[flower]' in an environment of its own"
            )
        from fl.flower.project import Project
        from netsim.cosim.flower_learner import AppSettings, FlowerLearner

        return FlowerLearner(
            Project.read(Path(self.app), self.run_config),
            AppSettings(self.compute, self._names, self.splits, self.memory_bytes),
            num_clients,
            seed,
            reuse=reuse,
            workers=workers,
        )

    @property
    def _names(self) -> dict[str, str]:
        return {str(ours): theirs for ours, theirs in self.metrics.items()}

    def known_learner(
        self, num_clients: int, seed: int, *, may_count: bool
    ) -> Learner | None:
        return None

    def timing_model(self) -> dict[str, str]:
        name = f"the Flower app {Path(self.app).name}"
        return {"time": name, "accuracy": name}

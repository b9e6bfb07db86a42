"""What a run's scenario implies, without running any code that the run brings along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from netsim.availability import Availability
from netsim.cosim.inputs import changed
from netsim.cosim.scenario import Scenario
from netsim.learner.learner import Learner
from netsim.population import Population
from netsim.runs.manifest import read_manifest
from netsim.scenario import NotLoaded, Opaque, load_text
from netsim.server import Policy
from netsim.server.outages import spans
from netsim.server.rules import PolicyRules, RuledPolicy, RuledServer, ServerRules
from netsim.server.story import ServerStory
from netsim.verify.trace import Array, Trace

Value = TypeVar("Value")
UNREADABLE = (ValueError, OSError)  # of scenarios, and of files that they name


class Unknown(Exception):
    """Why something could not be computed again."""


class Known:
    """Scenario, clients and costs of a run; what is not known raises ``Unknown``."""

    def __init__(self, text: str, folder: Path, trace: Trace) -> None:
        self._text = text
        self._folder = folder
        self._trace = trace
        self._found: dict[str, object] = {}

    @property
    def scenario(self) -> Scenario:
        """Return the scenario; a user's class in it answers nothing."""
        return self._once("scenario", self._read)

    @property
    def learner(self) -> Learner:
        """Return what knows bits and FLOP."""
        return self._once("learner", self._learner)

    @property
    def num_samples(self) -> Sequence[int]:
        """Return the samples of every client."""
        return self._once("num_samples", self._num_samples)

    @property
    def population(self) -> Population:
        """Return the drawn clients; samples that are not known are the trace's."""
        return self._once("population", self._population)

    @property
    def outages(self) -> list[tuple[int, int]]:
        """Return where outages of the server begin and end, within the run."""
        ends_ns = self._trace.sim_time_ns
        every = spans(self.rules.outages, self.scenario.seed)
        return list(takewhile(lambda span: span[0] <= ends_ns, every))

    @property
    def outages_ns(self) -> set[int]:
        """Return the ticks at which outages of the server begin, within the run."""
        return {start_ns for start_ns, _ in self.outages}

    @property
    def server(self) -> ServerStory:
        """Return the server, unless it is of a user's class."""
        return _loaded(self.scenario.server)

    @property
    def policy(self) -> Policy | None:
        """Return the policy, unless it is of a user's class."""
        return _loaded(self.scenario.policy)

    @property
    def is_app(self) -> bool:
        """Return whether an app decides what it sends, weighs and evaluates."""
        return "runs-an-app" in self.server.traits

    def require_no_app(self) -> None:
        """Raise ``Unknown`` where only an app, while it runs, knows what is right."""
        if self.is_app:
            raise Unknown("only the app knows, while it runs")

    @property
    def rules(self) -> ServerRules:
        """Return what the server's rows must be."""
        return cast(RuledServer, self.server).rules

    def require_as_it_was(self, path: str) -> None:
        """Raise ``Unknown`` where a file that the scenario names has changed."""
        if path in changed(read_manifest(self._folder)):
            raise Unknown(f"{path} is no longer what it was when the run was made")

    @property
    def policy_rules(self) -> PolicyRules:
        """Return what the policy's rows must be; without a policy there are no
        pilots."""
        policy = self.policy
        return PolicyRules() if policy is None else cast(RuledPolicy, policy).rules

    @property
    def availability(self) -> Availability:
        """Return when clients are there, unless a user's class tells it."""
        return _loaded(self.scenario.population.availability)

    @property
    def is_anyone_ever_away(self) -> bool:
        """Return whether clients may come and go, or run out of energy."""
        has_batteries = self.scenario.population.battery is not None
        return has_batteries or "comes-and-goes" in self.availability.traits

    @property
    def num_clients(self) -> int:
        """Return the number of clients."""
        return self.scenario.population.num_clients

    def _once(self, name: str, make: Callable[[], Value]) -> Value:
        """Return a value that is made once; also the reason for which it cannot be."""
        if name not in self._found:
            try:
                self._found[name] = make()
            except (Unknown, NotLoaded) as reason:
                self._found[name] = reason
        found = self._found[name]
        if isinstance(found, Unknown | NotLoaded):
            raise found
        return found  # type: ignore[return-value]

    def _read(self) -> Scenario:
        try:
            return load_text(self._text, Scenario, folder=self._folder, code=None)
        except UNREADABLE as error:
            raise Unknown(f"scenario.yaml cannot be read: {_first(error)}") from error

    def _learner(self) -> Learner:
        scenario = self.scenario
        self.require_no_app()
        try:
            found = scenario.learning.known_learner(
                self.num_clients, scenario.seed, may_count=False
            )
        except UNREADABLE as error:
            raise Unknown(_first(error)) from error
        if found is None:
            raise Unknown("this computer's cache has no costs of the model")
        return found

    def _num_samples(self) -> Sequence[int]:
        scenario = self.scenario
        learning = scenario.learning.federated
        if learning is None:
            return self.learner.num_samples
        try:
            shares = learning.shares(self.num_clients, scenario.seed)
        except UNREADABLE as error:
            raise Unknown(_first(error)) from error
        return [len(share) for share in shares]

    def _population(self) -> Population:
        scenario = self.scenario
        num_samples: Sequence[int] | Array
        try:
            num_samples = self.num_samples
        except (Unknown, NotLoaded):
            num_samples = self._trace.columns("clients")["num_samples"]
        try:
            return Population(
                scenario.population,
                scenario.network,
                seed=scenario.seed,
                num_samples=np.maximum(num_samples, 0),
            )
        except UNREADABLE as error:
            raise Unknown(_first(error)) from error


def _loaded(choice: Value) -> Value:
    if isinstance(choice, Opaque):
        raise NotLoaded(choice.kind)
    return choice


def _first(error: Exception) -> str:
    return str(error).splitlines()[0]

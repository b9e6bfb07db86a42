"""What in a scenario does not go together, though each part is right by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netsim.cosim.checks.aggregation import refused_demands
from netsim.cosim.checks.hierarchy import refused_edges, refused_learning
from netsim.cosim.checks.links import refused_links
from netsim.cosim.checks.network import refused_networks
from netsim.cosim.checks.servers import (
    ASYNCHRONOUS,
    refused_servers,
    what_defies_plans,
    with_article,
)
from netsim.cosim.learning_kinds import UNTRAINED, LearningOff, LoraLearning
from netsim.errors import Refusal
from netsim.scenario.each import wrong_count

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario
    from netsim.server import Policy


def contradictions(scenario: Scenario) -> Iterator[Refusal]:
    """Yield where parts of a scenario contradict each other, and why."""
    if (scenario.cell is None) == (scenario.cells is None):
        yield (), "needs `cell`, or a list of `cells`: exactly one of them"
        return  # no other rule is clear about which cells are meant
    yield from refused_networks(scenario.network, scenario.population)
    yield from refused_edges(scenario)
    yield from _refused_lists(scenario)
    yield from refused_servers(scenario)
    yield from refused_links(scenario)
    yield from _refused_policies(scenario)
    if isinstance(scenario.learning, UNTRAINED):
        yield from _refused_without_learning(scenario)
    if isinstance(scenario.learning, LoraLearning):
        yield from _refused_evaluations(scenario, scenario.learning)
        if scenario.server.kind == "hierarchical":
            yield from refused_learning(scenario.learning)
        yield from refused_demands(scenario, scenario.learning)
        yield from _refused_sketches(scenario, scenario.learning)


def _refused_lists(scenario: Scenario) -> Iterator[Refusal]:
    """Yield lists that have not one value for each client."""
    listed: dict[tuple[str, str], object] = {
        ("population", "radio_band"): scenario.population.radio_band_hz
    }
    if isinstance(scenario.learning, LearningOff):
        listed["learning", "download"] = scenario.learning.download_bits
        listed["learning", "upload"] = scenario.learning.upload_bits
        listed["learning", "compute"] = scenario.learning.compute_flop
    for path, value in listed.items():
        if text := wrong_count(value, scenario.population.num_clients):
            yield path, text


def _refused_without_learning(scenario: Scenario) -> Iterator[Refusal]:
    """Yield what nothing is known of where nothing is trained."""
    if scenario.stop.target is not None:
        yield ("stop", "target"), "needs learning: nothing is scored without it"
    if scenario.ranks.kind != "full":
        yield ("ranks",), "needs learning: nothing has a rank without it"


def _refused_sketches(scenario: Scenario, learning: LoraLearning) -> Iterator[Refusal]:
    """Yield lower ranks of layers that are no plain pair of factors."""
    policy, lora = scenario.policy, learning.lora
    decides_ranks = policy is not None and policy.decides_ranks
    has_ranks = decides_ranks or scenario.ranks.kind != "full"
    if has_ranks and (lora.use_dora or lora.peft_type != "lora"):
        text = "a sketch needs plain LoRA layers, not DoRA or HiRA"
        yield ("policy" if decides_ranks else "ranks",), text


def _refused_policies(scenario: Scenario) -> Iterator[Refusal]:
    """Yield what a policy cannot plan, what two parts would decide, and what nobody
    does."""
    policy, server = scenario.policy, scenario.server
    has_rounds = server.kind not in ASYNCHRONOUS
    is_sampled = getattr(server, "sampling", None) is not None
    if policy is None:
        if has_rounds and not is_sampled:
            text = "missing key 'sampling'; only a `policy` could decide it"
            yield ("server",), text
        return
    if len(scenario.network.cells) > 1:
        text = "a policy plans one band that all clients share; give one `cell`"
        yield ("policy",), text
    if not has_rounds:
        text = (
            f"{with_article(server.kind)} server draws among the idle and has no "
            "rounds that a policy could plan; use 'synchronous' or 'deadline'"
        )
        yield ("policy",), text
    surprise = what_defies_plans(server)
    if surprise:
        text = f"plans for all who are drawn, and `{surprise}` does not wait for them"
        yield ("policy",), text
    if policy.needs_learning and isinstance(scenario.learning, UNTRAINED):
        text = "pilots and ranks need learning: nothing is measured without it"
        yield ("policy",), text
    yield from _decided_twice(scenario, policy, is_sampled=is_sampled)


def _decided_twice(
    scenario: Scenario, policy: Policy, *, is_sampled: bool
) -> Iterator[Refusal]:
    if policy.decides_sampling and is_sampled:
        text = "the policy decides who is drawn; leave `sampling` out"
        yield ("server", "sampling"), text
    if not (policy.decides_sampling or is_sampled):
        yield ("server",), "missing key 'sampling': the policy decides ranks alone"
    if policy.decides_ranks and scenario.ranks.kind != "full":
        yield ("ranks",), "the policy decides ranks; leave `ranks` out"


def _refused_evaluations(
    scenario: Scenario, learning: LoraLearning
) -> Iterator[Refusal]:
    """Yield evaluations near no target, or of clients that cannot be judged."""
    place, clients = ("learning", "evaluation"), learning.evaluation.clients
    if learning.evaluation.near is not None and scenario.stop.target is None:
        yield (*place, "near"), "needs `stop.target`: its metric comes near its level"
    if clients is None:
        return
    if not learning.task.num_labels:
        text = "needs a task with labels: a client is judged on its own share of them"
        yield (*place, "clients"), text
    last, highest = scenario.population.num_clients - 1, max(clients.ids or (0,))
    if highest > last:
        yield (*place, "clients", "ids"), f"must be from 0 to {last}, got {highest}"

"""What a sampler and the ranks say themselves about the population and the adapter."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from netsim.errors import InputError, Refusal

if TYPE_CHECKING:
    from netsim.cosim.scenario import Scenario

SAMPLING = "server.sampling."


def undrawable(scenario: Scenario) -> Iterator[Refusal]:
    """Yield what a sampler refuses for this many clients; of a copy, since samplers
    remember what they found."""
    sampling, num_clients = scenario.server.sampling, scenario.population.num_clients
    if sampling is None:
        return
    try:
        copy(sampling).probabilities(np.full(num_clients, 1 / num_clients))
    except InputError as error:
        text = str(error)
        key, _, rest = text.removeprefix(SAMPLING).partition(" ")
        if text.startswith(SAMPLING):
            yield ("server", "sampling", key), rest
        else:
            yield ("server", "sampling"), text


def too_high_ranks(scenario: Scenario) -> Iterator[Refusal]:
    """Yield ranks of clients above the adapter's."""
    learning = scenario.learning.federated
    if learning is None:
        return
    for choice in scenario.population.devices:
        try:
            scenario.ranks.rank(learning.lora.r, choice.device, lambda rank: 0)
        except InputError as error:
            yield ("ranks",), str(error)
            return

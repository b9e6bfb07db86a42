"""What the choices of a scenario declare about themselves.

A choice (a server, a sampler, a sharing rule, ...) has ``traits``: each trait with the
key of the choice's setting that causes it, empty where the choice as a whole does. The
rules of what goes together ask traits only, so that they judge a user's own class as
they judge ours. A question is a tuple of traits of which a choice declares one or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol, TypeAlias, get_args

from netsim.core.quantities import did_you_mean

Trait: TypeAlias = Literal[
    # how a server works
    "waits-for-all",  # a round ends when all drawn clients have arrived
    "has-deadline",  # a round ends at a deadline that plans know
    "takes-first",  # a round ends with the first arrivals
    "serves-one-by-one",  # there are no rounds: a client starts when another ends
    "merges-new-versions",  # every merged update began from the newest version
    "merges-old-versions",  # a merged update may have begun from an older version
    "overlaps-rounds",  # clients of an earlier round may still be sending
    "runs-an-app",  # an app decides whom it asks, when it waits and what it merges
    "has-edges",  # every cell has a server, and a cloud merges their versions
    "has-outages",  # the server may fail
    "corrects-presence",  # weights are divided by the share of time a client is there
    "lacks-sampling",  # it needs a sampler and has none: a policy decides
    "has-sampling",
    # the weights of drawn clients
    "sums-to-one",
    "sums-vary",
    "reads-losses",  # who is drawn depends on the losses of local training
    # a policy
    "decides-sampling",
    "keeps-sampling",  # it leaves the sampling to the server
    "decides-ranks",
    "needs-learning",
    "runs-pilots",
    # ranks
    "full-ranks",
    "lower-ranks",
    "ranks-by-device",  # by the device's name
    "ranks-by-memory",  # by what the device holds
    # a sharing rule
    "divides-at-events",
    "divides-equally",  # all live transfers have one share
    "plans-rounds",  # shares are fixed when a round begins
    "seeks-shares",  # shares are the optimum of a search
    # clients
    "around-a-cell",  # each client is placed around a cell
    "around-the-origin",
    "always-there",
    "comes-and-goes",
    # learning
    "learns",
    "trains-nothing",
    "is-an-app",  # with clients and a server of its own
    "differs-by-client",  # sizes or work are listed
    "lists-downloads",  # each client has a download of its own size
    "steps-at-server",  # the server takes optimiser steps
    "keeps-state",  # clients keep something from round to round
    "keeps-errors",  # clients keep what compression held back
    "keeps-sketched-errors",  # of a sketch
    "keeps-rows",  # clients keep what their local training needs
    "shares-rows",  # local training sends more than the model, both ways
    "hides-losses",  # the server is not told the losses of local training
    "trains-one-rank",  # all clients train the whole adapter
    "examines-clients",
    "ends-near-target",
    "measures-test-only",  # no validation split
    "looks-by-clock",  # evaluations are due at simulated times
    "has-no-labels",
    "is-not-plain-lora",
]
Traits: TypeAlias = Mapping[Trait, str]
Questions: TypeAlias = tuple[tuple[Trait, ...], ...]

# What each choice of a kind answers.
SERVER: Questions = (
    (
        *("waits-for-all", "has-deadline", "takes-first", "serves-one-by-one"),
        "runs-an-app",
    ),
    ("merges-new-versions", "merges-old-versions", "runs-an-app"),
)
SAMPLER: Questions = (("sums-to-one", "sums-vary"),)
POLICY: Questions = (("decides-sampling", "keeps-sampling"),)
RANKS: Questions = (("full-ranks", "lower-ranks"),)
SHARING: Questions = (("divides-at-events", "plans-rounds"),)
PLACEMENT: Questions = (("around-a-cell", "around-the-origin"),)
AVAILABILITY: Questions = (("always-there", "comes-and-goes"),)
LEARNING: Questions = (("learns", "trains-nothing", "is-an-app"),)


class Declaring(Protocol):
    """A choice of a scenario, as its kind's protocol extends it."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    @property
    def traits(self) -> Traits:
        """Return what it declares: its answers to the questions of its kind."""


def faults(traits: Traits, questions: Questions) -> Iterator[str]:
    """Yield what is wrong with the declaration of a class."""
    known = get_args(Trait)
    for name in traits:
        if name not in known:
            hint = did_you_mean(name, known)
            yield f"declares an unknown trait {name!r}{hint}"
    for question in questions:
        if not set(question) & set(traits):
            yield f"declares no trait of {', '.join(question)}: add one to `traits`"

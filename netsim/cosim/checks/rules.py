"""The table of what does not go together.

A rule is a pair of traits and the reason why no scenario has both. A contradiction
stands at the setting that declares the first trait of the pair. The reason may name the
kind there (``{kind}``), the other kind (``{other}``, ``{an_other}`` with its article)
and the setting that declares the other trait (``{setting}``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from fl.aggregation import Ability
from netsim.cosim.checks.declared import Declared, Fact
from netsim.errors import Refusal
from netsim.scenario.traits import Trait

Either: TypeAlias = Trait | Fact

IMPATIENT = "plans for all who are drawn, and `{setting}` does not wait for them"
KEPT_BACK = (
    "does not go with learning.compression: what a client kept back belongs to other "
    "rank units than its next ones"
)
APP = "plays an app's server: set `learning: {{kind: flower, app: FOLDER}}`"
OWN_SERVER = (
    "an app has a server of its own: set `server: {{kind: flower, merge_time: 0 s}}`"
)
ONE_RANK = "does not go with learning.local_training, which needs the whole adapter"
PLAIN_LORA = "a sketch needs plain LoRA layers, not DoRA or HiRA"

RULES: Mapping[tuple[Either, Either], str] = {
    # networks
    ("has-interference", "has-one-cell"): (
        "one cell alone has no other cell to disturb it"
    ),
    ("places-around-cells", "around-the-origin"): (
        "listed points are around the origin: set `placed_around: origin`"
    ),
    ("changes-cells", "plans-rounds"): (
        "a share that is fixed for a round does not follow its client into another "
        "cell: use a rule that acts at events, such as processor-sharing"
    ),
    # servers
    ("plans-rounds", "serves-one-by-one"): (
        "{kind} divides the band once per round and {an_other} server has none; "
        "use 'processor-sharing'"
    ),
    ("plans-rounds", "overlaps-rounds"): (
        "{kind} divides the band once per round and with `late: next-round` "
        "clients of an earlier one still send; use 'processor-sharing'"
    ),
    ("broadcasts", "serves-one-by-one"): (
        "{an_other} server serves clients one by one; set `mode: unicast`"
    ),
    ("corrects-presence", "always-there"): (
        "corrects nothing: with availability {other} all clients are available"
    ),
    ("has-edges", "has-one-cell"): "edge servers need `cells`, at least two of them",
    ("has-mobility", "has-edges"): (
        "an edge server's clients stay in its cell; use a 'synchronous' server"
    ),
    ("lists-downloads", "exchanges-versions"): (
        "edge servers and the cloud exchange whole versions over the backhaul, and "
        "a list tells the size of none; give one value"
    ),
    ("steps-at-server", "has-edges"): (
        "whose would it be, the edges' or the cloud's? Leave it out"
    ),
    ("keeps-state", "has-edges"): (
        "clients keep nothing from round to round under edge servers"
    ),
    ("examines-clients", "has-edges"): (
        "edge servers examine no clients; leave it out"
    ),
    # apps
    ("runs-an-app", "learns"): APP,
    ("runs-an-app", "trains-nothing"): APP,
    ("is-an-app", "merges-new-versions"): OWN_SERVER,
    ("is-an-app", "merges-old-versions"): OWN_SERVER,
    ("has-policy", "runs-an-app"): (
        "the app draws its clients itself; leave `policy` out"
    ),
    ("plans-rounds", "runs-an-app"): (
        "{kind} fixes shares for a round and an app may send at any time; use "
        "'processor-sharing'"
    ),
    ("lower-ranks", "is-an-app"): "an app has no ranks; leave `ranks` out",
    # links of each client
    ("lists-cells", "has-own-links"): (
        "with population.links no client is in a cell; give one `cell`"
    ),
    ("plans-rounds", "has-own-links"): (
        "{kind} divides the band among uploads, and with population.links none is "
        "on it; use 'processor-sharing'"
    ),
    ("cuts-at-snr", "has-own-links"): (
        "has no meaning with population.links: their traces have the outages that "
        "were met"
    ),
    ("limits-windows", "has-own-links"): (
        "a window has no effect with population.links, whose rates were measured; "
        "leave `initial_window` and `window` out"
    ),
    ("limits-radios", "has-own-links"): (
        "has no effect with population.links: a trace is of a link as wide as it was "
        "met; leave it out, or divide the rates of the trace"
    ),
    ("has-policy", "has-own-links"): (
        "plans for uploads that share the band, and with population.links none "
        "does; give `server.sampling` instead"
    ),
    # policies, and who decides what
    ("has-policy", "has-several-cells"): (
        "a policy plans one band that all clients share; give one `cell`"
    ),
    ("has-policy", "serves-one-by-one"): (
        "{an_other} server draws among the idle and has no rounds that a policy "
        "could plan; use 'synchronous' or 'deadline'"
    ),
    ("has-policy", "takes-first"): IMPATIENT,
    ("has-policy", "overlaps-rounds"): IMPATIENT,
    ("needs-learning", "trains-nothing"): (
        "pilots and ranks need learning: nothing is measured without it"
    ),
    ("lacks-sampling", "lacks-policy"): (
        "missing key 'sampling'; only a `policy` could decide it"
    ),
    ("lacks-sampling", "keeps-sampling"): (
        "missing key 'sampling': the policy decides ranks alone"
    ),
    ("has-sampling", "decides-sampling"): (
        "the policy decides who is drawn; leave `sampling` out"
    ),
    ("lower-ranks", "decides-ranks"): ("the policy decides ranks; leave `ranks` out"),
    ("reads-losses", "trains-nothing"): "needs learning: without it is no loss",
    ("reads-losses", "hides-losses"): (
        "chooses by losses, and with learning.local_training {other} none leaves a "
        "client"
    ),
    ("reads-losses", "serves-one-by-one"): (
        "{an_other} server draws among the idle; use 'synchronous' or 'deadline'"
    ),
    # learning
    ("has-target", "trains-nothing"): ("needs learning: nothing is scored without it"),
    ("lower-ranks", "trains-nothing"): (
        "needs learning: nothing has a rank without it"
    ),
    ("ends-near-target", "lacks-target"): (
        "needs `stop.target`: its metric comes near its level"
    ),
    ("targets-validation", "measures-test-only"): (
        "needs `learning.evaluation.validation`: that share of the test samples"
    ),
    ("targets-validation", "is-an-app"): (
        "is on the split 'validation', which no Flower app has: use 'test'"
    ),
    ("examines-clients", "has-no-labels"): (
        "needs a task with labels: a client is judged on its own share of them"
    ),
    ("lower-ranks", "is-not-plain-lora"): PLAIN_LORA,
    ("decides-ranks", "is-not-plain-lora"): PLAIN_LORA,
    ("merges-old-versions", "keeps-errors"): (
        "does not go with learning.compression: a client may start again before "
        "its last update is merged, and what it has kept back is not known before"
    ),
    ("merges-old-versions", "keeps-rows"): (
        "does not go with learning.local_training: a client may start again before its "
        "last update is merged, and what it keeps is not known before"
    ),
    ("shares-rows", "has-edges"): (
        "edge servers would each have a row of their own to send; use one server"
    ),
    ("lower-ranks", "trains-one-rank"): ONE_RANK,
    ("decides-ranks", "trains-one-rank"): ONE_RANK,
    ("decides-ranks", "keeps-errors"): KEPT_BACK,
    ("lower-ranks", "keeps-sketched-errors"): KEPT_BACK,
}

# What each trait asks of the aggregation, whose contract has the reason against it.
DEMANDS: tuple[tuple[Either, Ability], ...] = (
    ("merges-old-versions", "asynchrony"),
    ("has-edges", "asynchrony"),
    ("serves-one-by-one", "independent-sampling"),
    ("has-deadline", "independent-sampling"),
    ("takes-first", "independent-sampling"),
    ("sums-vary", "independent-sampling"),
    ("decides-sampling", "independent-sampling"),
    ("comes-and-goes", "independent-sampling"),
    ("has-battery", "independent-sampling"),
    ("loses-messages", "independent-sampling"),
    ("gives-up-in-outage", "independent-sampling"),
    ("lower-ranks", "sketches"),  # or unequal ranks, where small clients truncate
    ("decides-ranks", "sketches"),
)


def contradicting(found: Sequence[Declared]) -> Iterator[Refusal]:
    """Yield where two declared traits contradict each other, and why."""
    for traits, reason in RULES.items():
        for one, other in itertools.product(found, repeat=2):
            if (one.trait, other.trait) == traits:
                yield one.path, _in_full(reason, one, other)


def _in_full(reason: str, one: Declared, other: Declared) -> str:
    return reason.format(
        kind=repr(one.kind),
        other=repr(other.kind),
        an_other=with_article(other.kind),
        setting=other.path[-1] if other.path else "",
    )


def with_article(kind: str) -> str:
    """Return a kind in quotes, with the article that goes before it."""
    return f"an {kind!r}" if kind[:1] in "aeiou" else f"a {kind!r}"

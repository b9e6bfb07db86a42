"""Aggregation methods beside server optimisers, compression and pilots."""

import pytest
from test_methods import SMALL

from netsim.cosim.scenario import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "learning.aggregation=rolora\x00learning.server_optimiser=momentum",
            "learning.server_optimiser: .*the factor that rests",
        ),
        (
            "learning.aggregation=fed-sb\x00learning.server_optimiser=adam",
            "learning.server_optimiser: .*between its fixed bases",
        ),
        (
            "learning.aggregation=rolora\x00learning.compression=top-k",
            "learning.compression: .*the other factor",
        ),
    ],
)
def test_company_that_would_break_a_method_is_refused(override, message):
    with pytest.raises(InputError, match=message):
        read_scenario(find_scenario("quickstart"), tuple(override.split("\x00")))


@pytest.mark.parametrize("kind", ["momentum", "plain"])
def test_linear_steps_keep_a_core_between_its_bases(kind):
    overrides = (
        "learning.aggregation=fed-sb",
        f"learning.server_optimiser={{kind: {kind}, learning_rate: 0.5}}",
    )
    assert read_scenario(find_scenario("quickstart"), overrides)


def test_an_error_memory_keeps_one_rank():
    overrides = [f"{path}" for path in SMALL if not path.startswith("server.sampling")]
    overrides += [
        "learning.aggregation=flexlora",
        "learning.compression=top-k",
        "server={kind: synchronous, announce_time: 0 s, merge_time: 0 s}",
        "policy={kind: adaptive, constants: {ratio: 1, nu: 1}}",
    ]
    with pytest.raises(InputError, match=r"policy: .*kept back"):
        read_scenario(find_scenario("quickstart"), tuple(overrides))


def test_the_oracle_needs_each_clients_factors():
    overrides = (
        "learning.aggregation=full-average",
        "learning.secure_aggregation=true",
    )
    with pytest.raises(InputError, match=r"learning.secure_aggregation: .*factors"):
        read_scenario(find_scenario("quickstart"), overrides)

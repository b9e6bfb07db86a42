"""Aggregation methods beside server optimisers, compression and pilots."""

import pytest
import torch

from fl.aggregation import COMPRESSIONS, SERVER_OPTIMISERS, FedIT, FedSALora, FFALora
from fl.model.payload import Payload
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from tests.support.methods import (
    SMALL,
    federation,
    play_round,
    run,
)

WEIGHTS = (0.5, 0.3, 0.2)


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
def test_combinations_that_would_break_a_method_are_refused(override, message):
    with pytest.raises(InputError, match=message):
        read_scenario(find_scenario("quickstart"), tuple(override.split("\x00")))


@pytest.mark.parametrize("kind", ["momentum", "plain"])
def test_linear_steps_keep_a_core_between_its_bases(kind):
    overrides = (
        "learning.aggregation=fed-sb",
        f"learning.server_optimiser={{kind: {kind}, learning_rate: 0.5}}",
    )
    assert read_scenario(find_scenario("quickstart"), overrides)


@pytest.mark.parametrize("kind", SERVER_OPTIMISERS)
def test_what_one_factor_methods_send_is_rounded_after_the_servers_step(kind):
    """The clients go on from the very version, so it must be one that can travel."""
    payload = Payload(precision="bfloat16")
    server = SERVER_OPTIMISERS[kind](learning_rate=0.3)
    fed = federation(FFALora(), payload=payload, server_optimiser=server)
    name = fed.initial_version
    for round_id in (1, 2):
        name, _ = play_round(fed, name, round_id, WEIGHTS)
        adapter = fed._versions.model(name).adapter
        for part in adapter.layout.parts:
            if part.factor != "A":
                sent = adapter.tensors()[part.name]
                assert torch.equal(sent, payload.rounded(sent))


@pytest.mark.parametrize(
    ("aggregation", "compression"),
    [(FedSALora(), None), (FedIT(), COMPRESSIONS["top-k"](share=0.25))],
    ids=["personal", "error memory"],
)
def test_who_starts_again_from_the_first_version_has_kept_nothing(
    aggregation, compression
):
    """A pilot is a run of its own: not even clients remember the one before."""
    fed = federation(aggregation, compression=compression)
    first = fed.initial_version
    once, _ = play_round(fed, first, 1, (0.4, 0.3, 0.2, 0.1))
    play_round(fed, once, 2, WEIGHTS)
    again, _ = play_round(fed, first, 1, WEIGHTS)
    assert fed.adapter_digest(again) == _first_round(aggregation, compression)
    # nor does one who was not drawn in its first round
    assert fed._runner.state(3) is None


def _first_round(aggregation, compression):
    fed = federation(aggregation, compression=compression)
    name, _ = play_round(fed, fed.initial_version, 1, WEIGHTS)
    return fed.adapter_digest(name)


def test_what_stays_with_a_client_is_no_part_of_its_change():
    """Policies plan with squared changes: only what others get to see counts."""
    fed = federation(FedSALora())
    name, _ = play_round(fed, fed.initial_version, 1, WEIGHTS)
    start = fed._versions.model(name).adapter
    results, merge = [], fed.merge
    fed.merge = lambda *given: results.append(merge(*given)) or results[-1]
    _, received = play_round(fed, name, 2, WEIGHTS)
    wanted = []
    for adapter in received:
        pairs = zip(adapter.pairs().values(), start.pairs().values(), strict=True)
        wanted.append(sum(float((a - b).square().sum()) for (_, a), (_, b) in pairs))
    assert results[0].norms2 == pytest.approx(wanted, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_norm_weights_meet_no_negative_weight_under_rounding(precision, tmp_path):
    """What was sent differs from the version by rounding; hetlora knows no difference
    of components, so its server goes on from what it sent."""
    found = run(
        tmp_path,
        "learning.aggregation=hetlora",
        f"learning.payload.precision={precision}",
    )
    assert set(found.merges.num_components) == {3}


def test_an_error_memory_keeps_one_rank():
    overrides = [f"{path}" for path in SMALL if not path.startswith("server.sampling")]
    overrides += [
        "learning.aggregation=flora-stacking",
        "learning.compression=top-k",
        "server={kind: synchronous, announce_time: 0 s, merge_time: 0 s}",
        "policy={kind: adaptive, constants: {ratio: 1, nu: 1}}",
    ]
    with pytest.raises(InputError, match=r"policy: .*kept back"):
        read_scenario(find_scenario("quickstart"), tuple(overrides))


@pytest.mark.parametrize(
    "lora", ["{use_dora: true}", "{peft_type: hira}"], ids=["dora", "hira"]
)
def test_pairs_of_any_rank_need_plain_layers(lora):
    overrides = ("learning.aggregation=florist", f"learning.lora={lora}")
    with pytest.raises(InputError, match=r"learning.aggregation: florist .*ranks"):
        read_scenario(find_scenario("quickstart"), overrides)


@pytest.mark.parametrize("kind", ["flexlora", "thin-svd"])
def test_pairs_of_the_layers_rank_go_with_dora(kind):
    overrides = (f"learning.aggregation={kind}", "learning.lora={use_dora: true}")
    assert read_scenario(find_scenario("quickstart"), overrides)


def test_the_oracle_needs_each_clients_factors():
    overrides = (
        "learning.aggregation=full-average",
        "learning.secure_aggregation=true",
    )
    with pytest.raises(InputError, match=r"learning.secure_aggregation: .*factors"):
        read_scenario(find_scenario("quickstart"), overrides)


@pytest.mark.parametrize("kind", ["fedsvd", "flexlora", "residual", "thin-svd"])
def test_an_error_memory_keeps_its_coordinates(kind):
    overrides = (f"learning.aggregation={kind}", "learning.compression=top-k")
    with pytest.raises(InputError, match=r"learning.compression: .*coordinates"):
        read_scenario(find_scenario("quickstart"), overrides)


def test_an_error_memory_may_stay_where_factors_keep_their_coordinates():
    for kind in ("flora-na", "{kind: thin-svd, gauge: procrustes}", "flora-stacking"):
        overrides = (f"learning.aggregation={kind}", "learning.compression=top-k")
        assert read_scenario(find_scenario("quickstart"), overrides)

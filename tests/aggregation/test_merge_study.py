"""Every merge on the recorded updates of a run."""

import json
import sys

import pandas as pd
import pytest
import torch

from fl.aggregation import AGGREGATIONS, FedIT, FloraNA, LayerComponents, Pair
from fl.federation.merging import Component
from fl.merge_study import Round, compare
from fl.model.adapters import Adapter, Layout, Part
from fl.model.payload import Payload
from netsim import load_run
from netsim.cosim.commands.merge_study import compare_merges
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.verify import verify
from tests.support.command import netsim
from tests.support.installed import lay_out
from tests.torture.learned import new_cache

pytestmark = pytest.mark.slow

OWN = "own_merge:Own"
EXACT = ("fedex-lora", "flora-stacking", "full-average")
OTHERWISE = ("fed-sb", "fedsa-lora", "fedsvd", "ffa-lora", "rolora")
FULL = "server.sampling={kind: full}"
SMALL = (
    "stop.rounds=3",
    "learning.training.local_steps=2",
    "population.num_clients=8",
)


def finished(folder, *overrides):
    config = read_scenario(find_scenario("quickstart"), (*SMALL, *overrides))
    run_scenario(config, folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, quickstart_base):
    """A finished run whose learning a store of its own remembers."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("study")
        patch.setenv("XDG_CACHE_HOME", str(new_cache(folder / "cache")))
        yield finished(folder / "run", FULL)


@pytest.fixture(scope="module")
def study(run):
    return compare_merges(run, evaluate=True)


def test_nothing_is_trained_and_the_run_comes_out_as_recorded(study, run):
    assert study.steps_trained == 0
    assert study.steps_reused == load_run(run).manifest.steps_trained > 0
    assert study.is_same
    assert study.rounds == (1, 2, 3)


def test_exact_merges_miss_by_round_off_only(study):
    errors = study.errors.set_index("method")["relative_error"]
    for method in EXACT:
        assert 0 < errors[method].max() < 1e-6
    assert errors["fedit"].min() > 1e-4


def test_merges_are_ordered_as_they_must_be(study):
    errors = study.errors.pivot(
        index=["round_id", "layer"], columns="method", values="relative_error"
    )
    slack = 1 + 1e-6
    assert (errors["thin-svd"] <= errors["flora-na"] * slack).all()
    assert (errors["flora-na"] <= errors["fedit"] * slack).all()
    assert (errors["residual"] <= errors["thin-svd"] * slack).all()
    assert len(errors) == 3 * study.errors["layer"].nunique()


def test_the_runs_own_merge_has_the_errors_that_the_run_recorded(study, run):
    recorded = load_run(run).merges
    own = recorded["method"].iloc[0]
    ours = study.errors[study.errors["method"] == own]
    both = recorded.astype({"layer": str}).merge(ours, on=["round_id", "layer"])
    assert len(both) == len(recorded)
    pd.testing.assert_series_equal(
        both["relative_error_x"], both["relative_error_y"], check_names=False, rtol=1e-4
    )
    pd.testing.assert_series_equal(
        both["update_relative_error_x"],
        both["update_relative_error_y"],
        check_names=False,
        rtol=1e-4,
    )


def recorded_scores(run):
    evals = load_run(run).evals
    shared = evals[evals["client_id"].isna()]
    return shared.set_index("round_id")[["loss", "accuracy"]]


def scores_of(study, method):
    merges = study.merges[study.merges["method"] == method]
    return merges.set_index("round_id")[["loss", "accuracy"]].astype(float)


def test_the_runs_own_merge_is_as_good_as_the_run_recorded(study, run):
    own = scores_of(study, load_run(run).merges["method"].iloc[0])
    recorded = recorded_scores(run).loc[own.index]
    pd.testing.assert_frame_equal(own, recorded, check_index_type=False)
    summary = study.methods.set_index("method")
    mean = summary.loc["flora-na", "mean_accuracy"]
    assert mean == pytest.approx(recorded["accuracy"].mean())


def test_exact_merges_of_the_same_updates_are_equally_good(study):
    first, *others = (scores_of(study, method) for method in EXACT)
    for other in others:
        pd.testing.assert_frame_equal(other, first, rtol=1e-4)
    assert (scores_of(study, "fedit") != first).any().any()


def test_what_a_run_has_folded_into_the_base_counts(tmp_path):
    folding = "learning.aggregation=flora-stacking"
    found = compare_merges(
        finished(tmp_path / "run", FULL, folding),
        methods=["flora-stacking", "fedex-lora"],
        evaluate=True,
    )
    recorded = recorded_scores(tmp_path / "run").loc[[1, 2, 3]]
    for method in ("flora-stacking", "fedex-lora"):
        own = scores_of(found, method)
        pd.testing.assert_frame_equal(
            own, recorded, rtol=1e-4, check_index_type=False, check_names=False
        )


def test_methods_that_train_otherwise_have_traffic_only(study):
    frame = study.methods.set_index("method")
    for method in OTHERWISE:
        assert frame.loc[method, "status"] == "trains otherwise"
        assert pd.isna(frame.loc[method, "mean_error"])
        assert frame.loc[method, "upload_bits"] > 0
    assert set(study.errors["method"]) == set(AGGREGATIONS) - set(OTHERWISE)
    assert frame.loc["ffa-lora", "upload_bits"] < frame.loc["fedit", "upload_bits"]


def test_traffic_of_plain_lora_is_what_the_run_sent(study, run):
    tasks = load_run(run).tasks
    frame = study.methods.set_index("method")
    assert set(tasks["upload_bits"]) == {frame.loc["fedit", "upload_bits"]}
    assert set(tasks["download_bits"]) == {frame.loc["fedit", "download_bits"]}
    assert frame.loc["flora-na", "download_bits"] == frame.loc["fedit", "download_bits"]


def test_forgotten_updates_are_trained_again_and_a_person_is_told(run, monkeypatch):
    told = []
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(new_cache(run.parent / "empty")))
        again = compare_merges(run, methods=["fedit"], rounds=[2], say=told.append)
    assert again.steps_trained > 0
    assert len(told) == 1
    assert "training them again" in told[0]
    assert again.is_same
    assert set(again.errors["round_id"]) == {2}


def test_sampled_clients_with_weights_below_zero_are_refused_by_norm_weights(tmp_path):
    sampling = "server.sampling={kind: independent, probability: 0.5}"
    found = compare_merges(finished(tmp_path / "run", sampling))
    frame = found.methods.set_index("method")
    assert frame.loc["hetlora", "status"] == "cannot"
    assert "weights >= 0" in frame.loc["hetlora", "reason"]
    assert pd.isna(frame.loc["hetlora", "mean_error"])
    assert found.errors.set_index("method")["relative_error"]["fedex-lora"].max() < 1e-6


def test_folding_methods_cannot_follow_an_asynchronous_server(tmp_path):
    found = compare_merges(
        finished(
            tmp_path / "run",
            "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms}",
            "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, "
            "mode: unicast, sharing: processor-sharing}",
            "cell.uplink.sharing=processor-sharing",
        ),
        methods=["fedex-lora", "thin-svd"],
    )
    frame = found.methods.set_index("method")
    assert frame.loc["fedex-lora", "status"] == "cannot"
    assert "frozen base" in frame.loc["fedex-lora", "reason"]
    assert frame.loc["thin-svd", "status"] == "compared"


@pytest.mark.parametrize(
    ("own", "alike", "otherwise"),
    [("ffa-lora", "fedsvd", "fedit"), ("flora-stacking", "fedex-lora", "ffa-lora")],
)
def test_a_run_by_another_method_is_compared_with_its_likes(
    own, alike, otherwise, tmp_path
):
    aggregation = f"learning.aggregation={own}"
    found = compare_merges(
        finished(tmp_path / "run", FULL, aggregation), methods=[own, alike, otherwise]
    )
    assert found.is_same
    frame = found.methods.set_index("method")
    assert frame.loc[[own, alike], "status"].tolist() == ["compared", "compared"]
    assert frame.loc[[own, alike], "worst_error"].max() < 1e-6
    assert frame.loc[otherwise, "status"] == "trains otherwise"


def test_the_command_writes_tables_and_a_picture(run, capsys):
    pytest.importorskip("altair")
    code = netsim(
        *("merge-study", run, "--rounds", "1-2", "--methods", "fedit, fedex-lora"),
        "--json",
    )
    assert code == 0
    printed = capsys.readouterr().out
    report = json.loads(printed.splitlines()[-1])
    assert report["rounds"] == [1, 2]
    assert [row["method"] for row in report["methods"]] == ["fedex-lora", "fedit"]
    errors = pd.read_parquet(run / "host/merge-study.parquet")
    assert set(errors["round_id"]) == {1, 2}
    summary = pd.read_csv(run / "host/merge-study.csv").set_index("method")
    fedit = errors[errors["method"] == "fedit"]["relative_error"]
    assert summary.loc["fedit", "mean_error"] == pytest.approx(fedit.mean())
    assert summary.loc["fedit", "worst_error"] == pytest.approx(fedit.max())
    merges = pd.read_csv(run / "host/merge-study-rounds.csv")
    assert len(merges) == 4
    assert merges["accuracy"].isna().all()  # nobody asked
    assert (run / "host/merge-study.svg").read_text().startswith("<svg")
    assert verify(run) == []


MERGE = """
from typing import ClassVar
from fl.aggregation import FedIT

class Own(FedIT):
    kind: ClassVar[str] = "own-average"
    def merge(self, layers):
        return super().merge(layers)
"""


def test_a_merge_of_somebodys_own_is_compared_and_merges(
    run, tmp_path, monkeypatch, capsys
):
    """By its installed kind, and by its module and class."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    lay_out(tmp_path, "own", {"own_merge.py": MERGE}, {"aggregation.own": OWN})
    for name in ("own", OWN):
        words = ("--rounds", "1", "--methods", f"fedit,{name}", "--json")
        assert netsim("merge-study", run, *words, "--out", tmp_path / "out") == 0
        said = capsys.readouterr()
        found = json.loads(said.out.splitlines()[-1])["methods"]
        assert {row["method"] for row in found} == {"fedit", "own-average"}
        assert len({row["mean_error"] for row in found}) == 1
        assert f"a program: {OWN} runs from " in said.err
        adapters = (run / "adapter", run / "adapter")
        merged = tmp_path / f"merged-{name.partition(':')[0]}"
        assert netsim("merge", *adapters, "--method", name, "--out", merged) == 0
        assert (merged / "adapter_model.safetensors").exists()
        capsys.readouterr()
    text = MERGE.replace("Own", "Other") + MERGE
    (tmp_path / "own_merge.py").write_text(text)
    sys.modules.pop("own_merge")
    words = ("--methods", f"{OWN},own_merge:Other", "--out", tmp_path / "other")
    assert netsim("merge-study", run, *words) == 2
    assert "two classes have the kind 'own-average'" in capsys.readouterr().err
    sys.modules.pop("own_merge")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rounds", "9"), "nothing was merged in round 9, the nearest is 3"),
        (("--rounds", "1-x"), "must be round ids"),
        (("--methods", "fedti"), "did you mean 'fedit'?"),
    ],
)
def test_a_wrong_filter_gets_one_message(options, message, run, tmp_path, capsys):
    assert netsim("merge-study", run, *options, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_without_learning_has_nothing_to_merge(tmp_path):
    config = read_scenario(find_scenario("network-only"), ("stop.rounds=2",))
    run_scenario(config, tmp_path / "run")
    with pytest.raises(InputError, match="nothing was learned"):
        compare_merges(tmp_path / "run")


def adapters():
    """Three adapters of a 6 x 5 matrix at rank 2, with a head of 4 numbers."""
    layout = Layout(
        (
            Part("w.lora_A", (2, 5), "w", "A"),
            Part("w.lora_B", (6, 2), "w", "B"),
            Part("head", (4,), "head", None),
        )
    )
    generator = torch.Generator().manual_seed(1)
    return [
        Adapter(layout, torch.randn(layout.num_numbers, generator=generator))
        for _ in range(3)
    ]


def tiny_round(payload, own=None):
    previous, *ends = adapters()
    return Round(
        components=(Component(ends[0], 0.75), Component(ends[1], 0.25)),
        previous=previous,
        own=own or FloraNA(),
        payload=payload,
        round_index=0,
        rank=2,
    )


@pytest.mark.parametrize(
    ("method", "up", "down"),
    [
        ("fedit", 22 + 4, 22 + 4),
        ("ffa-lora", 12 + 4, 12 + 4),
        ("fedsvd", 12 + 4, 22 + 4),
        ("fed-sb", 4 + 4, 4 + 4),
        ("fedsa-lora", 10, 10),
        # a stack of 4 ranks, 44 numbers, is longer than a dense fold and the new A
        ("flora-stacking", 22 + 4, 30 + 10 + 4),
        ("fedex-lora", 22 + 4, 22 + 22 + 4),
        ("full-average", 22 + 4, 30 + 10 + 4),
    ],
)
def test_bits_are_counted_by_hand(method, up, down):
    (trial,) = compare(tiny_round(Payload()), [AGGREGATIONS[method]()])
    assert (trial.upload_bits, trial.download_bits) == (32 * up, 32 * down)


def test_scales_of_rows_are_counted():
    payload = Payload(precision="int8", scale_per="row")
    (trial,) = compare(tiny_round(payload), [FedIT()])
    assert trial.upload_bits == 8 * 26 + 32 * (6 + 2 + 1)


def test_errors_are_those_of_a_dense_sum():
    merge = tiny_round(Payload())
    (trial,) = compare(merge, [FedIT()])
    pairs = [Pair(*component.adapter.pairs()["w"]) for component in merge.components]
    layer = LayerComponents(tuple(pairs), (0.75, 0.25))
    dense = [b.double() @ a.double() for b, a in pairs]
    ideal = 0.75 * dense[0] + 0.25 * dense[1]
    sent = FedIT().merge({"w": layer})["w"].pair
    gap = ideal - sent.lora_b.double() @ sent.lora_a.double()
    before_b, before_a = merge.previous.pairs()["w"]
    update = ideal - before_b.double() @ before_a.double()
    (row,) = trial.layers
    assert row.relative_error == pytest.approx(float(gap.norm() / ideal.norm()))
    assert row.update_relative_error == pytest.approx(float(gap.norm() / update.norm()))


def test_updates_of_a_run_that_froze_a_are_for_methods_that_do(tmp_path):
    own = AGGREGATIONS["ffa-lora"]()
    trials = compare(tiny_round(Payload(), own), [own, AGGREGATIONS["fedit"]()])
    assert [trial.status for trial in trials] == ["cannot", "trains otherwise"]
    assert "one common A" in trials[0].reason  # these moved it


def test_methods_of_one_rank_cannot_merge_clients_of_their_own(tmp_path, own_store):
    ranks = "ranks={kind: tiered, tiers: [{device: jetson-nano, rank: 2}]}"
    overrides = (FULL, "learning.aggregation=flexlora", ranks, "stop.rounds=2")
    found = compare_merges(finished(tmp_path / "run", *overrides))
    methods = found.methods.set_index("method")
    for kind in ("fedit", "flora-na", "residual"):
        assert methods.status[kind] == "cannot"
        assert "unequal-ranks" in methods.reason[kind]
    for kind in ("flexlora", "flora-stacking", "hetlora", "thin-svd"):
        assert methods.status[kind] == "compared"

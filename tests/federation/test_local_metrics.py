"""Clients' own adapters beside the global one, on each client's own labels."""

import numpy as np
import pytest

from fl.contract import Arrival, Score
from fl.federation.local_metrics import label_shares, weighted
from fl.model.evaluation import measured
from fl.model.evaluation_settings import EvaluationSettings
from fl.partition import DirichletByLabel
from fl.tasks import Digits
from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.cosim.workers import Workers
from netsim.errors import InputError
from netsim.verify import verify
from tests.support.federations import federation, submit

pytestmark = pytest.mark.slow

SMALL = ("stop.rounds=4", "learning.training.local_steps=3")


def scenario(*overrides):
    return read_scenario(find_scenario("quickstart"), (*SMALL, *overrides))


def metrics(loss, accuracy, num_samples, perplexity=None):
    return Score(
        split="test",
        num_samples=num_samples,
        loss=loss,
        accuracy=accuracy,
        perplexity=perplexity,
    )


def test_labels_are_weighted_by_the_clients_own_shares():
    assert label_shares(np.array([3, 1, 3, 3])) == {1: 0.25, 3: 0.75}
    by_label = {1: metrics(2.0, 0.5, 10), 3: metrics(1.0, 0.9, 30)}
    found = weighted(by_label, {1: 0.25, 3: 0.75}, "local-global")
    assert (found.split, found.num_samples) == ("local-global", 40)
    assert found.loss == pytest.approx(1.25)
    assert found.accuracy == pytest.approx(0.8)
    assert found.perplexity is None
    half = weighted(by_label, {1: 0.25, 2: 0.5, 3: 0.25}, "local-global")
    assert half.accuracy == pytest.approx(0.7)  # the test has no label 2
    causal = weighted({1: metrics(2.0, 0.5, 9, 7.4)}, {1: 1.0}, "local-personal")
    assert causal.perplexity == pytest.approx(np.exp(2.0))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_equal_to_samples_judged_one_by_one():
    """A weighted mean over test samples, each by its label's share over its count."""
    fed = federation(partition=DirichletByLabel(alpha=0.3))
    first = fed.initial_version
    jobs = {client: submit(fed, client, first) for client in (0, 2)}
    merged = fed.merge(first, [Arrival(jobs[0], 1.0)], examined=[jobs[0]])
    personal, shared = merged.scores  # of weight one: what it sent is the merged one
    assert personal.client_id == shared.client_id == 0
    assert personal.loss == pytest.approx(shared.loss, rel=1e-12)
    task, lora_model = fed._model.task, fed._model.lora_model
    lora_model.write(fed._versions.model(merged.version).adapter)
    held = task.labels("test")
    shares = label_shares(Digits().labels("train")[fed._shares[0]])
    alone = [
        measured(
            lora_model,
            task,
            "test",
            np.array([sample]),
            settings=EvaluationSettings(),
            shown="one",
        )
        for sample in range(len(held))
    ]
    weights = [shares.get(label, 0) / (held == label).sum() for label in held.tolist()]
    for name in ("loss", "accuracy"):
        values = [getattr(one, name) for one in alone]
        assert getattr(shared, name) == pytest.approx(np.dot(weights, values))


EXAMINED = "learning.evaluation.clients={every: 2, count: 3}"


def test_rows_name_client_split_and_round(tmp_path):
    plain = run_scenario(scenario(), tmp_path / "plain")
    manifest = run_scenario(scenario(EXAMINED), tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert verify(tmp_path / "run") == []
    assert manifest.adapter_digest == plain.adapter_digest
    assert manifest.network_digest == plain.network_digest
    assert manifest.final == plain.final
    local = run.evals[run.evals.client_id.notna()]
    assert set(local.split) == {"local-personal", "local-global"}
    assert set(local.round_id) == {2, 4}
    assert set(local.phase) == {"train"}
    arrived = run.tasks[run.tasks.merged_round_id.isin([2, 4])]
    pairs = set(zip(arrived.round_id, arrived.client_id, strict=True))
    assert set(zip(local.round_id, local.client_id, strict=True)) <= pairs
    assert len(local) == 2 * 3 * 2
    ends = run.rounds.set_index("round_id").end_ns
    assert (local.time_ns == ends.loc[local.round_id].to_numpy()).all()
    assert run.time_to("accuracy", 2.0) is not None


def test_the_gap_per_round_is_a_frame(tmp_path):
    run_scenario(scenario("learning.evaluation.clients={}"), tmp_path)
    run = load_run(tmp_path)
    gap = run.local_gap()
    assert gap.round_id.tolist() == [1, 2, 3, 4]
    assert gap.num_clients.tolist() == run.rounds.num_merged.tolist()
    one = run.evals[(run.evals.round_id == 3) & run.evals.client_id.notna()]
    means = one.groupby("split", observed=True).accuracy.mean()
    wanted = means["local-personal"] - means["local-global"]
    assert gap.accuracy_gap[2] == pytest.approx(wanted)
    assert gap.loss_gap[2] == pytest.approx(gap.loss_global[2] - gap.loss_personal[2])


def test_a_run_without_local_rows_has_an_empty_gap(tmp_path):
    run_scenario(scenario("stop.rounds=1"), tmp_path)
    assert load_run(tmp_path).local_gap().empty


def test_local_metrics_are_remembered_and_the_same_with_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("fl.memory.store.default_folder", lambda: tmp_path / "store")
    config = scenario("learning.evaluation.clients={}", "learning.cohort_size=3")
    first = run_scenario(config, tmp_path / "first")
    assert first.steps_trained > 0
    with monkeypatch.context() as patched:
        patched.setattr(
            "fl.federation.local_metrics.measured", None
        )  # nothing is judged again
        again = run_scenario(config, tmp_path / "again")
    workers = run_scenario(config, tmp_path / "two", reuse=False, workers=Workers(2))
    assert again.digest == first.digest == workers.digest
    assert (again.steps_trained, again.steps_reused) == (0, first.steps_trained)


def test_asked_for_later_they_cost_no_training(tmp_path, monkeypatch):
    monkeypatch.setattr("fl.memory.store.default_folder", lambda: tmp_path / "store")
    plain = run_scenario(scenario(), tmp_path / "plain")
    later = run_scenario(scenario(EXAMINED), tmp_path / "later")
    assert later.steps_trained == 0
    assert later.steps_reused == plain.steps_trained
    fresh = run_scenario(scenario(EXAMINED), tmp_path / "fresh", reuse=False)
    assert fresh.digest == later.digest


def test_a_buffered_server_is_examined_as_well(tmp_path):
    server = "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms}"
    down = (
        "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, "
        "mode: unicast, sharing: processor-sharing}"
    )
    up = "cell.uplink.sharing=processor-sharing"
    config = scenario(server, down, up, "learning.evaluation.clients={ids: [0, 1]}")
    run_scenario(config, tmp_path)
    local = load_run(tmp_path).evals.dropna(subset="client_id")
    assert set(local.client_id) <= {0, 1}
    assert len(local) > 0


def test_answers_that_are_texts_have_no_labels_to_go_by():
    with pytest.raises(InputError, match="needs a task with labels"):
        read_scenario(find_scenario("arithmetic"), ("learning.evaluation.clients={}",))

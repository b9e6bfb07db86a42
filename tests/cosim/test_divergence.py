"""Numbers that are not finite are left out of a merge, and said, or end the run."""

import math

import pytest

from fl.aggregation.compression import TopK
from fl.contract import Arrival
from fl.federation.divergence import MergeDiverged
from fl.memory.store import Store
from fl.model.payload import Payload
from fl.partition import IID, divide
from fl.settings.local_training import TrainingSettings
from fl.streams import stream
from fl.tasks import Digits
from fl.training.local_training import Diverged
from netsim import load_run
from netsim.cosim.run import run_scenario
from netsim.errors import InputError
from netsim.verify import verify
from tests.support.federations import SEED, federation, submit
from tests.support.servers import SERVERS, scenario
from tests.torture.poison import Poisoned

pytestmark = pytest.mark.slow

NUM_CLIENTS = 3


def poison(*clients, num_clients=NUM_CLIENTS, seed=SEED):
    """Return a task that only these clients cannot learn."""
    shares = divide(IID(), Digits(), num_clients, stream(seed, "partition"))
    samples = sorted(n for client in clients for n in shares[client].tolist())
    return Poisoned(samples=tuple(samples))


def merged(fed, clients, version=None, start_index=0):
    """Return the merge of these clients' jobs, each of weight 0.3, and the jobs."""
    version = version or fed.initial_version
    jobs = [submit(fed, client, version, start_index) for client in clients]
    return fed.merge(version, [Arrival(job, 0.3) for job in jobs]), jobs


def test_a_diverged_client_is_left_out_and_the_others_keep_their_weights():
    sick = federation(task=poison(1), cohort_size=1)
    after, jobs = merged(sick, (0, 1, 2))
    assert after.diverged == {jobs[1]: "at local step 0"}
    assert after.norms2[1] is None
    assert min(after.norms2[0], after.norms2[2]) > 0
    sound = federation(cohort_size=1)
    without, _ = merged(sound, (0, 2))
    assert sick.adapter_digest(after.version) == sound.adapter_digest(without.version)


def test_a_client_that_diverges_beside_others_changes_nothing_of_theirs():
    found = []
    for sick in ((), (2,)):
        fed = federation(task=poison(*sick))
        jobs = [submit(fed, client, fed.initial_version) for client in range(3)]
        after = fed.merge(fed.initial_version, [Arrival(job, 0.3) for job in jobs[:2]])
        assert after.diverged == {}
        found.append(fed.adapter_digest(after.version))
    assert found[0] == found[1]


def test_without_anybody_left_the_version_stays_and_the_next_round_goes_on():
    fed = federation(task=poison(0, 1))
    first = fed.initial_version
    before = fed.adapter_digest(first)
    after, jobs = merged(fed, (0, 1))
    assert (after.version, after.layers) == (first, ())
    assert after.diverged == dict.fromkeys(jobs, "at local step 0")
    assert fed.adapter_digest(first) == before
    later, jobs = merged(fed, (0, 2), start_index=1)
    assert later.version != first
    assert set(later.diverged) == {jobs[0]}


def test_what_diverged_is_remembered_like_all_else(tmp_path):
    found = []
    for on_divergence in ("drop", "drop", "stop"):
        store = Store(tmp_path)
        fed = federation(task=poison(0), on_divergence=on_divergence, store=store)
        jobs = [submit(fed, client, fed.initial_version) for client in (0, 1)]
        arrivals = [Arrival(job, 0.3) for job in jobs]
        if on_divergence == "drop":
            after = fed.merge(fed.initial_version, arrivals)
            found.append((after.diverged, fed.adapter_digest(after.version)))
        else:
            with pytest.raises(Diverged, match="client 0, start 0"):
                fed.merge(fed.initial_version, arrivals)
    assert found[0] == found[1]
    assert fed.steps_trained == 0


def test_a_large_weight_of_a_rare_client_counts_in_full():
    fed = federation()
    first = fed.initial_version
    job = submit(fed, 0, first)
    after = fed.merge(first, [Arrival(job, 1e8)])
    assert after.diverged == {}
    assert after.version != first


@pytest.mark.parametrize("weight", [1e300, math.inf, math.nan])
@pytest.mark.parametrize("on_divergence", ["drop", "stop"])
def test_weights_too_large_for_the_numbers_merge_nothing(on_divergence, weight):
    fed = federation(precision="float32", on_divergence=on_divergence)
    first = fed.initial_version
    jobs = [submit(fed, client, first) for client in (0, 1)]
    arrivals = [Arrival(jobs[0], weight), Arrival(jobs[1], 0.3)]
    if on_divergence == "stop":
        with pytest.raises(
            MergeDiverged, match=f"weights of up to {weight:g}".replace("+", ".")
        ):
            fed.merge(first, arrivals)
        return
    after = fed.merge(first, arrivals)
    assert after.version == first
    assert after.diverged == dict.fromkeys(jobs, "the merge is not finite")


def test_an_upload_beyond_its_precision_is_left_out():
    training = TrainingSettings(learning_rate=1e200, optim="sgd")
    payload = Payload(precision="bfloat16")  # as large as a float32, no larger
    fed = federation(precision="float64", training=training, payload=payload)
    version = fed.initial_version
    job = submit(fed, 0, version, steps=1)
    after = fed.merge(version, [Arrival(job, 0.5)])
    assert after.diverged == {job: "at local step 1"}


def test_who_diverged_goes_on_with_what_it_had_kept_before():
    compression = TopK(share=0.5)
    fed = federation(task=poison(1), compression=compression)
    after, _ = merged(fed, (0, 1))
    after, jobs = merged(fed, (0, 1), after.version, start_index=1)
    assert set(after.diverged) == {jobs[1]}
    assert fed._runner.state(0) == jobs[0]
    assert fed._runner.state(1) is None


@pytest.mark.parametrize("server", SERVERS)
def test_a_run_goes_on_without_who_diverged_and_says_so(server, tmp_path):
    config = poisoned_scenario(*SERVERS[server], "stop.rounds=4")
    manifest = run_scenario(config, tmp_path / "run", reuse=False)
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    sick = run.tasks[run.tasks.status == "diverged"]
    assert set(sick.client_id) == {3, 4}
    assert sick.merged_round_id.isna().all()
    marks = run.events[run.events.kind == "diverged"]
    assert sorted(marks.client_id) == sorted(sick.client_id)
    assert marks.detail.str.fullmatch(r"at local step \d").all()
    assert run.rounds.num_merged.sum() == run.tasks.merged_round_id.notna().sum()
    assert run.rounds.num_dropped.sum() >= len(sick)
    assert manifest.final["loss"] is not None


UNICAST = SERVERS["buffered"][1:]
IMPATIENT = {
    "asynchronous": (
        "server={kind: asynchronous, concurrency: 8, merge_time: 5 ms}",
        *UNICAST,
    ),
    "buffered": (
        "server={kind: buffered, concurrency: 8, buffer_size: 3, merge_time: 5 ms}",
        *UNICAST,
    ),
    "late": (
        "server={kind: deadline, deadline: 150 ms, late: next-round, "
        "staleness_exponent: 0.5, announce_time: 1 ms, merge_time: 0 s, "
        "sampling: {kind: uniform, num_drawn: 7}}",
        *UNICAST,
    ),
    "over-selection": (
        "server={kind: synchronous, merge_first: 7, corrects_arrivals: true, "
        "announce_time: 1 ms, merge_time: 1 ms, "
        "sampling: {kind: uniform, num_drawn: 8}}",
    ),
}


def require_left_out(folder, sick):
    """Check that these clients were never merged, which every table says alike."""
    assert verify(folder) == []
    run = load_run(folder)
    tasks = run.tasks[run.tasks.status == "diverged"]
    assert set(tasks.client_id) == set(sick)
    assert tasks.merged_round_id.isna().all()
    assert tasks.staleness.isna().all()
    merged = run.tasks[run.tasks.merged_round_id.notna()]
    assert not set(merged.client_id) & set(sick)
    assert (merged.staleness >= 0).all()
    marks = run.events[run.events.kind == "diverged"]
    assert sorted(marks.client_id) == sorted(tasks.client_id)
    at_servers = run.rounds[run.rounds.num_sampled > 0]
    assert at_servers.num_dropped.sum() >= len(tasks)
    assert run.evals.loss.map(math.isfinite).all()
    return run, merged


@pytest.mark.parametrize("server", IMPATIENT)
def test_who_diverged_is_never_stale_nor_merged(server, tmp_path):
    config = poisoned_scenario(*IMPATIENT[server], "stop.rounds=8")
    run_scenario(config, tmp_path / "run", reuse=False)
    run, merged = require_left_out(tmp_path / "run", (3, 4))
    assert run.rounds.num_merged.sum() == len(merged) > 0
    if server != "over-selection":
        assert (merged.staleness > 0).any()


def test_an_edge_server_leaves_out_who_diverged(tmp_path):
    config = poisoned_scenario(
        "server={kind: hierarchical, sampling: full, edge_rounds: 2, merge_time: 1 ms, "
        "announce_time: 1 ms, cloud_merge_time: 1 ms}",
        "learning={kind: lora}",
        "stop.rounds=4",
        name="hierarchical",
    )
    run_scenario(config, tmp_path / "run", reuse=False)
    run, merged = require_left_out(tmp_path / "run", (3, 4))
    at_edges = run.rounds[run.rounds.server_id < 2]
    assert at_edges.num_merged.sum() == len(merged) > 0


def test_a_server_that_only_meets_who_diverges_keeps_its_version(tmp_path):
    config = poisoned_scenario(
        *IMPATIENT["asynchronous"], "stop.rounds=50", sick=range(8)
    )
    run_scenario(config, tmp_path / "run", reuse=False)
    run, merged = require_left_out(tmp_path / "run", range(8))
    assert merged.empty
    assert run.merges.empty
    assert run.evals.loss.nunique() == 1


def test_a_run_may_end_where_a_client_diverges(tmp_path):
    config = poisoned_scenario("learning.on_divergence=stop", "stop.rounds=4")
    with pytest.raises(InputError, match=r"learning\.training: client [34], start 0"):
        run_scenario(config, tmp_path / "run", reuse=False)


def poisoned_scenario(*overrides, name="quickstart", sick=(3, 4)):
    """Return a shipped scenario with eight clients, some of them unable to learn."""
    samples = list(poison(*sick, num_clients=8, seed=1).samples)
    task = {"kind": "tests.torture.poison:Poisoned", "samples": samples}
    return scenario(
        name,
        "population.num_clients=8",
        "server.sampling={kind: full}",
        *overrides,
        f"learning.task={task}",
        "learning.partition=iid",
        "learning.training.local_steps=2",
    )

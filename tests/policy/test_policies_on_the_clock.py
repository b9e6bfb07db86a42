"""Policies inside a run: pilots on the clock, plans in force, weights without bias.

Every round with participants takes 0.5 s to announce, 1 s to compute, and 0.25 s to
merge; one without takes the 0.5 s alone.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from fl.contract import Merged, Score
from netsim.cosim.learning_kinds import LoraLearning
from netsim.cosim.world import build_population, build_stage, play
from netsim.errors import InputError
from netsim.learner.no_learning import NoLearning
from netsim.policy import FullParticipation, IndependentSampling
from netsim.server import (
    AdaptivePolicy,
    Constants,
    Deadline,
    Pilot,
    ProportionalPolicy,
    Stop,
    Synchronous,
    Target,
)
from netsim.trace.tables import TABLES
from netsim.trace.writer import Recorder
from tests.support.timelines import S, scenario

ALPHA, BETA, NU = 30.0, 4.0, 0.7
SAMPLES = (1, 2, 3, 4, 5, 5)
NORMS2 = np.array([1.0, 9.0, 2.0, 3.0, 1.0, 4.0])
A = np.array(SAMPLES) / sum(SAMPLES)
FULL, HALF = Pilot(probability=1.0, rounds=7), Pilot(probability=0.5, rounds=8)


@dataclass(frozen=True, kw_only=True)
class KeepsJobs(NoLearning):
    """Knows which job each ticket is of."""

    jobs: dict = field(default_factory=dict)

    def submit(self, job):
        ticket = super().submit(job)
        self.jobs[ticket] = job
        return ticket


@dataclass(frozen=True, kw_only=True)
class Scripted(KeepsJobs):
    """Loss falls from 2 by ``rates[phase]`` per round; each phase starts from the first
    version. Changes have the norms above times ``(r / k)^NU``."""

    rates: tuple[float, ...] = (0.1,)
    rank: int = 8
    samples: tuple[int, ...] = SAMPLES
    norms2: tuple[float, ...] = tuple(NORMS2.tolist())
    steps: dict = field(default_factory=dict)  # version to (phase, rounds since)
    phases: list = field(default_factory=list)

    @property
    def num_samples(self):
        return self.samples

    def bits_up(self, job):
        return self.upload_bits * job.rank // self.rank

    def merge(self, version, arrivals, examined=()):
        merged = super().merge(version, arrivals).version
        if version != merged:
            if version == self.initial_version:
                self.phases.append(merged)
            phase, number = self.steps.get(version, (len(self.phases) - 1, 0))
            self.steps[merged] = phase, number + 1
        jobs = [self.jobs[arrival.ticket] for arrival in arrivals]
        norms2 = [self.norms2[j.client_id] * (8 / j.rank) ** NU for j in jobs]
        return Merged(merged, norms2=tuple(norms2))

    def evaluate(self, version):
        phase, number = self.steps.get(version, (0, 0))
        rate = self.rates[min(phase, len(self.rates) - 1)]
        return (Score("test", 1, 2.0 - rate * number, 0.1 * number),)


def patient(**changes):
    times = {"announce_time_s": 0.5, "merge_time_s": 0.25}
    return Synchronous(**(times | changes))


class RowRecorder(Recorder):
    """Keeps what comes as columns as rows too, to be looked at."""

    def write_columns(self, table, columns):
        getattr(self, table).extend(
            map(TABLES[table].row._make, zip(*columns, strict=True))
        )


def config(policy, *, server=None, stop=None, num_clients=6):
    base = scenario(patient(sampling=FullParticipation()), num_clients)
    changes = {"policy": policy, "stop": stop or Stop(rounds=5)}
    changes["server"] = server or patient()
    return base.model_copy(update={"learning": LoraLearning(), **changes})


def play_out(folder, given, *, learner=None, **changes):
    sizes = {"download_bits": 0, "upload_bits": 0, "compute_flop": 10**9}
    sizes |= {"memory_bytes": 0, "samples_per_client": 1}
    make = learner or Scripted
    scripted = make(num_clients=given.population.num_clients, **(sizes | changes))
    population = build_population(given, scripted)
    recorder = RowRecorder(folder)
    stage = build_stage(given, scripted, population, recorder, lambda _: None)
    play(stage, given)
    return stage


def sampling_only(*pilots, **changes):
    return AdaptivePolicy(decides=("sampling",), pilots=pilots, **changes)


def estimates(stage, name):
    return [row for row in stage.scene.recorder.estimates if row.name == name]


def in_force(stage, round_id):
    """Return probabilities and ranks of the last plan not after a round."""
    plans = stage.scene.recorder.plans
    last = max(row.round_id for row in plans if row.round_id <= round_id)
    rows = [row for row in plans if row.round_id == last]
    return np.array([r.sampling_probability for r in rows]), [r.rank for r in rows]


def test_pilots_take_their_time_and_count_as_no_rounds(tmp_path):
    stage = play_out(tmp_path, config(sampling_only(FULL, HALF)))
    rounds = stage.scene.recorder.rounds
    assert [row.phase for row in rounds] == ["pilot"] * 15 + ["train"] * 5
    took = [7 * S // 4 if row.num_sampled else S // 2 for row in rounds]
    assert [row.end_ns - row.start_ns for row in rounds] == took
    assert rounds[6].end_ns == 7 * 7 * S // 4  # hand-counted: all join the first pilot
    assert stage.piloted() == (15, sum(took[:15]))
    assert stage.scene.env.now == sum(took)
    starts = [row for row in stage.scene.recorder.plans if row.client_id == 0]
    assert [row.round_id for row in starts] == [0, 8, 16]
    assert [row.sampling_probability for row in starts[:2]] == [1.0, 0.5]


def test_every_phase_starts_from_the_first_version(tmp_path):
    stage = play_out(tmp_path, config(sampling_only(FULL, HALF)), rates=(0.2, 0.1, 0.3))
    found = {
        (row.phase, row.round_id): round(row.loss, 9)
        for row in stage.scene.recorder.evals
    }
    joined = [bool(row.num_sampled) for row in stage.scene.recorder.rounds]
    assert found["pilot", 0] == found["train", 15] == 2.0
    assert found["pilot", 7] == pytest.approx(2 - 7 * 0.2)
    assert found["pilot", 15] == pytest.approx(2 - 0.1 * sum(joined[7:15]))
    assert found["train", 20] == pytest.approx(2 - 0.3 * sum(joined[15:]))
    assert len(stage.scene.learner.phases) == 3


def test_a_kept_model_goes_on_where_the_last_pilot_ended(tmp_path):
    policy = sampling_only(HALF, FULL, keeps_model=True)
    stage = play_out(tmp_path, config(policy), rates=(0.1, 0.2))
    scores = {(row.phase, row.round_id): row.loss for row in stage.scene.recorder.evals}
    assert scores["train", 15] == scores["pilot", 15] == pytest.approx(2 - 7 * 0.2)
    assert len(stage.scene.learner.phases) == 2


def test_a_pilot_never_meets_the_target(tmp_path):
    stop = Stop(rounds=50, target=Target(level=0.35))
    stage = play_out(tmp_path, config(sampling_only(FULL, HALF), stop=stop))
    assert (
        max(r.accuracy for r in stage.scene.recorder.evals if r.phase == "pilot") > 0.6
    )
    last = stage.scene.recorder.rounds[-1]
    assert last.phase == "train"
    assert stage.scene.recorder.events[-1].detail == "target"


@pytest.mark.parametrize("is_charged", [True, False])
def test_a_time_limit_counts_pilots_if_they_are_charged(tmp_path, is_charged):
    policy = sampling_only(FULL, HALF, charges_pilots=is_charged)
    stop = Stop(time_s=10.0)
    stage = play_out(tmp_path, config(policy, stop=stop))
    before_ns = 0 if is_charged else stage.piloted()[1]
    ends = [row.end_ns - before_ns for row in stage.scene.recorder.rounds]
    assert ends[-1] >= 10 * S > ends[-2]
    assert stage.scene.recorder.rounds[-1].phase == ("pilot" if is_charged else "train")
    if is_charged:
        assert stage.piloted() == (len(ends), stage.scene.env.now)


def law_rounds(q, rank=8):
    return BETA + ALPHA * float(np.sum(A**2 * NORMS2 / q)) * (8 / rank) ** NU


def test_the_constants_come_back_from_a_run(tmp_path):
    phases = [(1.0, None), (0.7, None), (0.8, 4)]
    reach = [law_rounds(q, rank or 8) for q, rank in phases]
    pilots = tuple(
        Pilot(probability=q, rank=rank, rounds=int(rounds) + 1)
        for (q, rank), rounds in zip(phases, reach, strict=True)
    )
    policy = AdaptivePolicy(pilots=pilots, max_weight=1.0)
    stage = play_out(
        tmp_path,
        config(policy),
        rates=tuple(1 / rounds for rounds in reach),
        upload_bits=12_000_000,
    )
    assert all(
        row.num_sampled for row in stage.scene.recorder.rounds[: sum(map(int, reach))]
    )
    fallen = 2 - estimates(stage, "level")[0].value
    found = {name: estimates(stage, name)[0].value for name in ("alpha", "beta", "nu")}
    assert fallen == pytest.approx(1, abs=0.1)
    assert found["alpha"] == pytest.approx(ALPHA * fallen)
    assert found["beta"] == pytest.approx(BETA * fallen)
    assert found["nu"] == pytest.approx(NU, abs=1e-6)
    assert [r.value for r in estimates(stage, "norm2")] == pytest.approx(NORMS2)
    rounds = [row.value for row in estimates(stage, "pilot_rounds")]
    assert rounds == pytest.approx(np.array(reach) * fallen)
    ends = np.cumsum([pilot.rounds for pilot in pilots]).tolist()
    assert [row.round_id for row in estimates(stage, "pilot_rounds")] == ends
    q, ranks = in_force(stage, 10**6)
    assert set(ranks) <= {4, 5, 6, 7, 8}  # none below what was tried
    law = stage.predicted["rounds"]
    variance = np.sum(A**2 * NORMS2 * (8 / np.array(ranks)) ** NU / q)
    assert law == pytest.approx((BETA + ALPHA * variance) * fallen, rel=1e-6)
    assert stage.predicted["time_s"] == pytest.approx(law * stage.predicted["round_s"])
    assert stage.predicted["loss"] == 2 - fallen


def test_weights_are_unbiased_and_within_the_limit(tmp_path):
    policy = sampling_only(FULL, HALF, max_weight=0.4, resolve_every=2)
    stage = play_out(tmp_path, config(policy, stop=Stop(rounds=9)))
    for task in stage.scene.recorder.tasks:
        q, _ = in_force(stage, task.round_id)
        assert task.weight == pytest.approx(A[task.client_id] / q[task.client_id])
        assert task.weight <= 0.4 + 1e-12
    assert len({row.round_id for row in stage.scene.recorder.plans}) == 2 + 1 + 4


def test_a_server_step_multiplies_the_weights(tmp_path):
    pilots = (
        Pilot(probability=1.0, rounds=3, step=0.5),
        Pilot(probability=0.5, rounds=3),
    )
    stage = play_out(tmp_path, config(sampling_only(*pilots, step=2.0)))
    for task in stage.scene.recorder.tasks:
        q, _ = in_force(stage, task.round_id)
        step = 0.5 if task.round_id <= 3 else 1.0 if task.round_id <= 6 else 2.0
        unbiased = A[task.client_id] / q[task.client_id]
        assert task.weight == pytest.approx(step * unbiased)


def test_planning_again_follows_the_norms_seen_since(tmp_path):
    policy = AdaptivePolicy(
        decides=("sampling",), constants=Constants(ratio=0.0), resolve_every=4
    )
    stage = play_out(
        tmp_path, config(policy, stop=Stop(rounds=12)), upload_bits=12_000_000
    )
    first, later = in_force(stage, 0)[0], in_force(stage, 12)[0]
    assert {row.round_id for row in stage.scene.recorder.plans} == {0, 5, 9}
    assert first[4] == pytest.approx(first[5])  # alike in data, and all norms one
    assert later[5] > later[4]  # of norms four to one
    seen = {task.client_id for task in stage.scene.recorder.tasks if task.round_id <= 8}
    told = [row.value for row in estimates(stage, "norm2") if row.round_id == 9]
    assert len(told) == 6
    assert [told[n] for n in seen] == pytest.approx(NORMS2[sorted(seen)].tolist())


def test_without_a_resolve_the_plan_stays(tmp_path):
    policy = sampling_only(FULL, HALF)
    stage = play_out(tmp_path, config(policy, stop=Stop(rounds=20)))
    assert {row.round_id for row in stage.scene.recorder.plans} == {0, 8, 16}


def test_where_q_does_not_matter_rounds_are_short_within_the_weights_tried(tmp_path):
    stage = play_out(
        tmp_path,
        config(sampling_only(FULL, HALF)),
        rates=(0.1, 0.2),
        upload_bits=12_000_000,
    )
    assert estimates(stage, "alpha")[0].value == 0
    assert not estimates(stage, "ratio")
    assert "q does not matter" in next(
        row.detail for row in stage.scene.recorder.events if row.kind == "fallback"
    )
    tried = A.max() / 0.5
    assert in_force(stage, 10**6)[0] == pytest.approx(A / tried)


def test_pilots_end_at_their_loss(tmp_path):
    pilots = (
        Pilot(probability=1.0, rounds=30, until_loss=1.45),
        Pilot(probability=0.9, rounds=30, until_loss=1.45),
    )
    stage = play_out(tmp_path, config(sampling_only(*pilots)))
    assert stage.piloted()[0] == 12  # six rounds of 0.1 each


def test_ranks_alone_may_be_planned(tmp_path):
    policy = AdaptivePolicy(
        decides=("ranks",), constants=Constants(ratio=1.0, nu=0.05), max_weight=1.0
    )
    server = patient(sampling=IndependentSampling(probability=0.5))
    given = config(policy, server=server)
    stage = play_out(tmp_path, given, upload_bits=120_000_000)
    q, ranks = in_force(stage, 0)
    assert q.tolist() == [0.5] * 6
    assert set(ranks) == {1}  # an upload of 10 s at full rank, and nu next to nothing
    assert {task.rank for task in stage.scene.recorder.tasks} == {1}
    dear = policy.model_copy(update={"constants": Constants(ratio=0.0, nu=4.0)})
    again = play_out(
        tmp_path / "dear", config(dear, server=server), upload_bits=12_000_000
    )
    assert set(in_force(again, 0)[1]) <= {7, 8}


def test_deadlines_leave_no_rank_that_comes_late(tmp_path):
    server = Deadline(announce_time_s=0.5, merge_time_s=0.25, deadline_s=3.01)
    policy = AdaptivePolicy(constants=Constants(ratio=0.0, nu=4.0), max_weight=1.0)
    given = config(policy, server=server)
    stage = play_out(tmp_path, given, upload_bits=24_000_000)  # 2 s alone at rank 8
    _, ranks = in_force(stage, 0)
    assert max(ranks) == 6  # 0.5 + 1 + 6/8 of 2 s is within 3.01 s; merging is after


def test_pilots_run_under_a_deadline_too(tmp_path):
    times = {"announce_time_s": 0.5, "merge_time_s": 0.25}
    server = Deadline(**times, deadline_s=9.0)
    policy = sampling_only(FULL, HALF)
    stage = play_out(tmp_path / "a", config(policy, server=server))
    patient_stage = play_out(tmp_path / "b", config(policy))
    assert stage.piloted() == patient_stage.piloted()
    assert stage.scene.recorder.plans == patient_stage.scene.recorder.plans
    late = Deadline(**times, deadline_s=1.2)  # nobody computes in time
    with pytest.raises(InputError, match="6 of 6 clients have no rank that fits"):
        play_out(tmp_path / "c", config(policy, server=late))


@dataclass(frozen=True, kw_only=True)
class Cramped(Scripted):
    """A byte per rank, on devices that have one."""

    def memory_at(self, rank):
        return rank


def test_pilots_keep_to_what_memory_allows(tmp_path):
    policy = AdaptivePolicy(pilots=(FULL, HALF), constants=Constants(nu=1.0))
    stage = play_out(tmp_path, config(policy), learner=Cramped)
    assert {row.rank for row in stage.scene.recorder.plans} == {1}
    assert {task.rank for task in stage.scene.recorder.tasks} == {1}
    found = [row.value for row in estimates(stage, "norm2")]
    assert found == pytest.approx(NORMS2 * 8**NU / 8)  # by the nu that was given


def test_proportional_policies_are_their_formulas(tmp_path):
    system = ProportionalPolicy(to="system", num_expected=3.0)
    stage = play_out(tmp_path / "a", config(system))
    assert in_force(stage, 0)[0] == pytest.approx(np.full(6, 0.5))
    measured = {"num_expected": 3.0, "pilots": (FULL,)}
    stage = play_out(
        tmp_path / "b", config(ProportionalPolicy(to="statistics", **measured))
    )
    scores = A * NORMS2**0.5
    assert in_force(stage, 10**6)[0] == pytest.approx(3 * scores / scores.sum())
    luo = ProportionalPolicy(to="statistics-per-time", **measured)
    stage = play_out(tmp_path / "c", config(luo), upload_bits=12_000_000)
    missed = (1 - scores / scores.sum()) ** 3
    assert in_force(stage, 10**6)[0] == pytest.approx(1 - missed)


@dataclass(frozen=True, kw_only=True)
class Quadratic(KeepsJobs):
    """Each client takes one step towards its own centre; a version is a point."""

    centres: tuple[float, ...]
    points: dict = field(default_factory=dict)

    @property
    def num_samples(self):
        return SAMPLES

    def merge(self, version, arrivals, examined=()):
        merged = super().merge(version, arrivals).version
        point = self.points.get(version, 0.0)
        jobs = [self.jobs[arrival.ticket] for arrival in arrivals]
        changes = [0.2 * (self.centres[j.client_id] - point) for j in jobs]
        step = sum(a.weight * c for a, c in zip(arrivals, changes, strict=True))
        self.points[merged] = point + step
        return Merged(merged, norms2=tuple(change**2 for change in changes))

    def evaluate(self, version):
        gaps = self.points.get(version, 0.0) - np.array(self.centres)
        return (Score("test", 1, float(A @ gaps**2) / 2, 0.0),)


def test_a_quadratic_problem_is_measured_and_followed_without_bias(tmp_path):
    centres = (-2.0, 0.5, 1.0, 4.0, 2.0, 3.0)
    policy = sampling_only(
        Pilot(probability=1.0, rounds=4),
        Pilot(probability=0.6, rounds=4),
        max_weight=0.6,
        charges_pilots=False,
    )
    given, ends, norms2 = config(policy, stop=Stop(rounds=6)), [], []
    sizes = {"download_bits": 0, "upload_bits": 12_000_000, "compute_flop": 10**9}
    sizes |= {"memory_bytes": 0, "samples_per_client": 1}
    for seed in range(60):
        one = given.model_copy(update={"seed": seed})
        learner = Quadratic(num_clients=6, centres=centres, **sizes)
        recorder = Recorder(tmp_path / str(seed))
        population = build_population(one, learner)
        stage = build_stage(one, learner, population, recorder, lambda _: None)
        play(stage, one)
        ends.append(learner.points[stage.version])
        norms2.append([row.value for row in estimates(stage, "norm2")[:6]])
    middle = float(A @ np.array(centres))
    expected = middle * (1 - 0.8**6)  # the mean moves as if all took part
    error = np.std(ends) / len(ends) ** 0.5
    assert np.mean(ends) == pytest.approx(expected, abs=4 * error)
    path = middle * (1 - 0.8 ** np.arange(4))
    truth = [np.mean((0.2 * (centre - path)) ** 2) for centre in centres]
    assert np.mean(norms2, axis=0) == pytest.approx(truth, rel=0.35, abs=0.02)


WRONG = {
    "two different probabilities": {"pilots": (FULL, FULL)},
    "give pilots or constants.ratio, not both": {
        "pilots": (FULL, HALF),
        "constants": Constants(ratio=1.0, nu=1.0),
    },
    "one of the two": {"pilots": (FULL, HALF)},
    "only where `decides` names ranks": {
        "decides": ("sampling",),
        "constants": Constants(ratio=1.0, nu=1.0),
    },
    "need pilots": {"constants": Constants(ratio=1.0, nu=1.0), "keeps_model": True},
    "each once": {"decides": ("ranks", "ranks")},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_policy_that_contradicts_itself_is_refused(message):
    with pytest.raises(ValueError, match=message):
        AdaptivePolicy(**WRONG[message])


def test_pilots_that_the_weight_limit_makes_equal_are_refused_before_they_run(tmp_path):
    policy = sampling_only(FULL, HALF, max_weight=1.0)
    with pytest.raises(InputError, match=r"policy.max_weight: 1.0 lifts all clients"):
        play_out(tmp_path, config(policy, num_clients=1), samples=(5,))


def test_a_pilot_at_the_adapters_rank_is_refused(tmp_path):
    policy = AdaptivePolicy(pilots=(FULL, HALF, Pilot(probability=1, rank=8, rounds=1)))
    with pytest.raises(InputError, match="must be below the adapter's, 8, got 8"):
        play_out(tmp_path, config(policy))

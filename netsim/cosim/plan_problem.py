"""A scenario as the planner's problem: what each client costs at each rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fl.contract import Job
from netsim.channel.latency import mean_latency_s
from netsim.cosim.checks.clock import require_time
from netsim.cosim.checks.declared import declared, find
from netsim.cosim.checks.rules import with_article
from netsim.cosim.scenario import Scenario
from netsim.errors import InputError
from netsim.learner.learner import Learner, first_job
from netsim.policy.problem import Problem
from netsim.policy.round_time import require_round_times
from netsim.policy.surrogate import Surrogate
from netsim.population import Population
from netsim.server.policies.policy import Constants

FULL_ROUNDS = 100.0  # of full participation at full rank: the surrogate's unit
DEFAULT_SPAN = 10.0  # the client with most data joins at least one round in ten
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What only pilots can measure, and the limit on weights; None is the default."""

    ratio: float | None = None
    nu: float | None = None
    max_weight: float | None = None

    def over(self, scenario: Scenario) -> Assumptions:
        """Return these, completed by those of the scenario's policy."""
        policy = scenario.policy
        limit = None if policy is None else policy.max_weight
        constants = (None if policy is None else policy.constants) or Constants()
        return Assumptions(
            ratio=constants.ratio if self.ratio is None else self.ratio,
            nu=constants.nu if self.nu is None else self.nu,
            max_weight=limit if self.max_weight is None else self.max_weight,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A planning problem with its surrogate, and which ranks fit into memory."""

    population: Population
    problem: Problem
    surrogate: Surrogate
    ratio: float
    fits_memory: BoolArray  # by client and rank


def build_task(scenario: Scenario, assumed: Assumptions) -> Task:
    """Return the planning task of a scenario whose server works in rounds."""
    _require_plannable(scenario)
    assumed = assumed.over(scenario)
    learner = scenario.learning.known_learner(
        scenario.population.num_clients, scenario.seed, may_count=True
    )
    assert learner is not None, "counting always finds the costs"
    population = draw_population(scenario, learner)
    problem, fits = build_problem(scenario, learner, population, assumed)
    surrogate, ratio = _surrogate(problem, assumed)
    return Task(
        population=population,
        problem=problem,
        surrogate=surrogate,
        ratio=ratio,
        fits_memory=fits,
    )


def _require_plannable(scenario: Scenario) -> None:
    """Refuse rounds, sharing rules and links whose round times are not known."""
    if scenario.server.round_timing is None:
        raise InputError(
            f"server: {with_article(scenario.server.kind)} server has no rounds that "
            "start together, so there is no round time to plan for; use "
            "'synchronous' or 'deadline'"
        )
    surprise = find(declared(scenario), "takes-first", "overlaps-rounds")
    if surprise is not None:
        raise InputError(
            f"server: a plan is for rounds that wait for all who are drawn, and "
            f"`{surprise.path[-1]}` does not; leave it out to plan"
        )
    cell = scenario.single_cell("a plan")
    try:
        require_round_times(cell.uplink.sharing.kind)
    except InputError as error:
        raise InputError(f"cell.uplink.sharing: {error}") from error
    if scenario.population.links is not None:
        raise InputError(
            "population.links: a plan divides the uplink's band, and with links of "
            "their own clients do not share it"
        )


def draw_population(scenario: Scenario, learner: Learner) -> Population:
    """Return the drawn fleet; refuse links that are too slow and rounds that are too
    long."""
    require_time(scenario, learner)
    population = Population(
        scenario.population,
        scenario.network,
        seed=scenario.seed,
        num_samples=learner.num_samples,
    )
    job = first_job(learner)
    population.radio_map.require_usable_links("down", sum(learner.bits_down(job, None)))
    if scenario.population.links is None:
        population.radio_map.require_usable_links("up", learner.bits_up(job))
    return population


def build_problem(
    scenario: Scenario, learner: Learner, population: Population, assumed: Assumptions
) -> tuple[Problem, BoolArray]:
    """Return the problem of a drawn fleet with all norms one, and which ranks fit."""
    if "differs-by-client" in scenario.learning.traits:
        raise InputError("learning: a plan needs one size and work for all clients")
    jobs = _jobs(scenario, learner)
    timing = scenario.server.round_timing
    assert timing is not None, "only rounds are planned"
    up = scenario.single_cell("a plan").uplink
    compute_s, before_s = _until_sending_s(learner, population, jobs)
    before_s += timing.announce_s
    after_s = up.transport.delay_s + mean_latency_s(up.latency_s, up.jitter)
    need_hz_s = _need_hz_s(learner, population, jobs)
    bits = [up.transport.air_bits(learner.bits_up(job)) for job in jobs]
    fits = _fits_memory(learner, population, jobs)
    alone_s = before_s + compute_s + need_hz_s / up.band_hz + after_s
    limit = assumed.max_weight
    problem = Problem(
        data_weights=population.data_weights,
        norms2=np.ones(len(population)),
        ranks=tuple(job.rank or 1 for job in jobs),
        global_rank=learner.rank or 1,
        compute_s=compute_s,
        need_hz_s=need_hz_s,
        bits=np.array(bits, dtype=float),
        is_allowed=_in_time(fits, alone_s, timing.deadline_s),
        band_hz=up.band_hz,
        fixed_s=before_s + after_s + timing.merge_s,
        max_weight=_span(population) if limit is None else limit,
    )
    return problem, fits


def _span(population: Population) -> float:
    """Return the default limit on weights."""
    return DEFAULT_SPAN * float(population.data_weights.max())


def _jobs(scenario: Scenario, learner: Learner) -> list[Job]:
    """Return a job at each rank from an eighth of the adapter's to all of it."""
    job = first_job(learner)
    if learner.rank is None:
        return [job]
    full = learner.rank
    can_sketch = "is-not-plain-lora" not in scenario.learning.traits
    ranks = {max(1, full * part // 8) for part in range(1, 9)} if can_sketch else {full}
    devices = (choice.device for choice in scenario.population.devices)
    ranks |= {
        scenario.ranks.rank(full, device, learner.memory_at) for device in devices
    }
    return [replace(job, rank=rank) for rank in sorted(ranks)]


def _need_hz_s(learner: Learner, population: Population, jobs: list[Job]) -> FloatArray:
    """Return ``band bits / R(band)``, the time at one hertz where SNR is per hertz, for
    as many attempts as it takes in the mean."""
    uplink = population.network.cells[0].uplink
    errors = uplink.errors
    sizes = [uplink.transport.air_bits(learner.bits_up(job)) for job in jobs]
    attempts = [1.0 if errors is None else errors.mean_attempts(n) for n in sizes]
    bits = np.array(sizes, dtype=float) * np.array(attempts)
    per_bit = uplink.band_hz / population.radio_map.full_band_rates_bps("up")
    return np.asarray(np.outer(per_bit, bits))


def _fits_memory(
    learner: Learner, population: Population, jobs: list[Job]
) -> BoolArray:
    needs = np.array([learner.memory_at(job.rank) for job in jobs])
    return np.asarray(population.fleet.memories_bytes()[:, None] >= needs)


def _until_sending_s(
    learner: Learner, population: Population, jobs: list[Job]
) -> tuple[FloatArray, float]:
    """Return the seconds of each client's download and compute by rank, and those of
    the broadcast to the weakest client with which every round begins."""
    compute_s = population.fleet.expected_computes_s([learner.work(j) for j in jobs])
    down = population.network.cells[0].downlink
    bits = down.transport.air_bits(learner.bits_down(first_job(learner), None)[0])
    download_s = bits / population.radio_map.full_band_rates_bps("down")
    if bits:
        download_s += mean_latency_s(down.latency_s, down.jitter)
        download_s += down.transport.delay_s
    if down.mode == "broadcast":
        return compute_s, float(download_s.max())
    return compute_s + download_s[:, None], 0.0


def _in_time(
    fits: BoolArray, alone_s: FloatArray, deadline_s: float | None
) -> BoolArray:
    """Return the ranks that memory and the deadline allow; refuse a deadline that a
    client misses at every rank, even alone on the band."""
    if deadline_s is None:
        return fits
    is_allowed = np.asarray(fits & (alone_s <= deadline_s))
    is_late = np.asarray(~is_allowed.any(axis=1))
    if is_late.any():
        least_s = alone_s.min(axis=1)
        slowest = int(least_s.argmax())
        raise InputError(
            f"server.deadline: {int(is_late.sum())} of {len(is_late)} clients have no "
            f"rank that fits their memory and {deadline_s:g} s; client {slowest} needs "
            f"{least_s[slowest]:.4g} s even alone on the band at the lowest rank: "
            "allow more time or memory, or leave these devices out"
        )
    return is_allowed


def _surrogate(problem: Problem, assumed: Assumptions) -> tuple[Surrogate, float]:
    """Return ``beta + alpha V`` with 100 rounds at full participation and rank."""
    full = float(problem.moments.sum())
    ratio = full if assumed.ratio is None else assumed.ratio
    if not ratio > -full or not np.isfinite(ratio):
        raise InputError(
            f"--ratio must exceed {-full:.4g}, or full participation would take no "
            f"rounds at all; got {ratio!r}"
        )
    alpha = FULL_ROUNDS / (ratio + full)
    nu = 1.0 if assumed.nu is None else assumed.nu
    return Surrogate(alpha=alpha, beta=alpha * ratio, nu=nu), ratio

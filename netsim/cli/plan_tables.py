"""What ``netsim plan`` prints, in 80 columns: its plans side by side, its groups, and
what the figures rest on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Final

import numpy as np
import pyarrow as pa
import typer

from netsim.cosim.plan_problem import Task
from netsim.cosim.scenario import Scenario
from netsim.policy.comparison import (
    EQUAL_SHARING,
    FULL,
    FULL_RANK,
    JOINT,
    UNIFORM,
    Rival,
)
from netsim.policy.fixed_shares import PARTS

WIDTH: Final = 80
MANY: Final = 1000  # from here on without decimals
RELATIVE_ZERO: Final = 1e-9  # an error below this part of a mean is rounding


def show(
    scenario: Scenario, task: Task, rivals: Sequence[Rival], plan: pa.Table
) -> None:
    """Print the tables and notes of a plan."""
    sharing = scenario.single_cell("a plan").uplink.sharing.kind
    for line in (*_rivals(rivals, sharing), "", *_groups(plan), ""):
        typer.echo(line)
    for note in _notes(scenario, task):
        typer.echo(note)


def pasted(task: Task) -> str:
    """Return the plan's constants as a policy's key."""
    return f"constants: {{ratio: {task.ratio:.4g}, nu: {task.surrogate.nu:.4g}}}"


def show_advice(text: str) -> None:
    """Print what to write into the scenario."""
    for line in ("", *wrap(text, WIDTH, break_long_words=False)):
        typer.echo(line)


def advice(scenario: Scenario, task: Task, rivals: Sequence[Rival]) -> str:
    """Return in one sentence what to write into the scenario: the simplest plan that no
    other beats by more than 5 % and twice its error."""
    by_name = {one.name: one for one in rivals}
    simple = min((by_name[FULL], by_name[UNIFORM]), key=_total_s)
    plans = [by_name[FULL], by_name[UNIFORM], by_name[FULL_RANK], by_name[JOINT]]
    best = min(plans, key=_total_s)
    good = next(one for one in plans if _is_near(one, best))
    gain = 1 - _total_s(good) / _total_s(simple)
    q, num_clients = good.choice.probabilities, len(task.problem)
    clients = f"{float(q.sum()):.3g} of {num_clients} clients in a round"
    if good.name == FULL:
        return "Write `server.sampling: full`: no plan is clearly faster."
    if good.name == UNIFORM:
        return (
            f"Write `server.sampling: {{kind: independent, probability: {q[0]:.3g}}}`, "
            f"{clients}: no plan is clearly faster."
        )
    return (
        f"Write `{_policy(scenario, task, good)}` in place of `server.sampling`, "
        f"{clients} with probabilities from {q.min():.2g} to {q.max():.2g}: {gain:.0%} "
        "less time than the same probability for all, if the constants hold."
    )


def _policy(scenario: Scenario, task: Task, plan: Rival) -> str:
    """Return the policy of a plan, as it is written; where nothing is learned, with the
    plan's constants."""
    if "trains-nothing" in scenario.learning.traits:
        constants = f"constants: {{ratio: {task.ratio:.4g}}}"
        return f"policy: {{kind: adaptive, decides: [sampling], {constants}}}"
    if plan.name == FULL_RANK and task.fits_memory.all():
        return "policy: {kind: adaptive, decides: [sampling]}"
    return "policy: adaptive"


def _total_s(rival: Rival) -> float:
    return rival.score.total_s


def _is_near(rival: Rival, best: Rival) -> bool:
    """Return whether a plan takes about as long as the best one."""
    margin_s = 2 * float(np.hypot(rival.score.total_error_s, best.score.total_error_s))
    return _total_s(rival) <= max(1.05 * _total_s(best), _total_s(best) + margin_s)


def uniform_s(rivals: Sequence[Rival]) -> float:
    """Return the time to target of the best uniform probability, in seconds."""
    return next(one.score.total_s for one in rivals if one.name == UNIFORM)


def _rivals(rivals: Sequence[Rival], sharing: str) -> list[str]:
    headings = (
        "clients",
        "round s",
        "±",
        "bound s",
        "rounds",
        "time s",
        "±",
        "/uniform",
    )
    rows = [_rival_row(one, sharing, uniform_s(rivals)) for one in rivals]
    return _lines(("plan", *headings), rows)


def _rival_row(rival: Rival, sharing: str, against_s: float) -> Iterator[str]:
    round_s = rival.score.round_s
    is_exact = round_s.error_s <= RELATIVE_ZERO * round_s.mean_s
    rule = "equal-fixed" if rival.name == EQUAL_SHARING else sharing
    num_expected = float(rival.choice.probabilities.sum())
    yield rival.name
    yield f"{num_expected:.1f}" if num_expected < MANY else f"{num_expected:.0f}"
    yield _short(round_s.mean_s)
    yield _error(round_s.error_s, is_exact=is_exact)
    yield "none" if rule in PARTS else _short(rival.bound_s)
    yield _short(rival.score.rounds)
    yield _short(rival.score.total_s)
    yield _error(rival.score.total_error_s, is_exact=is_exact)
    ratio = rival.score.total_s / against_s
    yield f"{ratio:.3f}" if ratio < MANY else _short(ratio)


def _error(error_s: float, *, is_exact: bool) -> str:
    return "0" if is_exact else _short(float(f"{error_s:.1g}"))


def _short(number: float) -> str:
    """Return four digits of a number, three where it needs an exponent."""
    text = f"{number:.4g}"
    return f"{number:.3g}" if "e" in text else text


def _groups(plan: pa.Table) -> list[str]:
    means = ("sampling_probability", "rank", "compute_s", "upload_alone_s")
    groups = plan.group_by(["device", "limited_by"]).aggregate(
        [("client_id", "count"), *((name, "mean") for name in means)]
    )
    order = [("device", "ascending"), ("limited_by", "ascending")]
    rows = [
        (
            row["device"],
            row["limited_by"],
            str(row["client_id_count"]),
            *(f"{row[f'{name}_mean']:.3g}" for name in means),
        )
        for row in groups.sort_by(order).to_pylist()
    ]
    headings = ("limited by", "clients", "mean q", "rank", "compute s", "alone s")
    return _lines(("device", *headings), rows)


def _lines(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table: the first column to the left, the others to the right."""
    cells = [tuple(headings), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _notes(scenario: Scenario, task: Task) -> Iterator[str]:
    """Yield what the figures rest on; nothing of it was measured."""
    timing = scenario.server.round_timing
    yield (
        "assumed, for want of pilots: all G_n equal, "
        f"beta/alpha {task.ratio:.4g}, nu {task.surrogate.nu:g}"
    )
    yield "rounds are in the surrogate's unit: 100 at full participation and full rank"
    yield "±: standard errors by Monte Carlo, 0 where all subsets were enumerated"
    yield f"weights a_n/q_n at most {task.problem.max_weight:.4g}"
    yield (
        f"downlink, announcement and merge: {task.problem.fixed_s:.4g} s of each round"
    )
    yield "alone s: the upload, if it had the whole band"
    if timing is not None and timing.deadline_s is not None:
        yield (
            f"the deadline of {timing.deadline_s:g} s rules out ranks that miss it "
            "alone; the rest is left out"
        )
    yield from _left_out(scenario, task)


def _left_out(scenario: Scenario, task: Task) -> Iterator[str]:
    """Yield what a plan leaves out of this scenario."""
    cell = scenario.single_cell("a plan")
    if "comes-and-goes" in scenario.population.availability.traits:
        yield "absence is left out: the plan is for clients that are there when drawn"
    if scenario.population.compute_jitter:
        yield "compute jitter is left out: real rounds are somewhat longer"
    if cell.uplink.radio.depends_on_share:
        yield "fixed power: rates taken on the whole band, so times are loose"
    if scenario.population.radio_band_hz is not None:
        yield "the radios' own band limit is left out"
    if longer_s := _window_delay_s(scenario, task):
        yield (
            f"windows are left out: an upload alone takes up to {longer_s:.3g} s longer"
        )
    if cell.downlink.mode == "unicast":
        yield "unicast downloads count as if each were alone on the downlink"


def _window_delay_s(scenario: Scenario, task: Task) -> float:
    """Return the most that windows add to an upload at the highest rank, alone."""
    transport, problem = scenario.single_cell("a plan").uplink.transport, task.problem
    bits = problem.bits[-1]
    if transport.pace is None or not bits:
        return 0.0
    rates_bps = bits / problem.need_hz_s[:, -1] * problem.band_hz
    return max(transport.window_delay_s(int(bits), rate) for rate in rates_bps)

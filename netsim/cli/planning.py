"""``netsim plan``: who takes part how often and at what rank, without training."""

from __future__ import annotations

import importlib
import json as json_format
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from netsim.cosim.planning import Assumptions, Task, build_task
from netsim.cosim.run import claim_folder
from netsim.cosim.scenario import Scenario, read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.policy.comparison import Comparison, Rival
from netsim.policy.problem import at_top_rank
from netsim.streams import stream

PLANS = Path("results") / "plans"
MAX_PAIRS = 20_000_000  # of (round, client) in one Monte Carlo of everybody
FIXED_SHARES = ("equal-fixed", "equal-rate", "max-min", "proportional")
NOT_BOUNDED = (*FIXED_SHARES, "proportional-fair")


def plan_command(
    given: str,
    overrides: tuple[str, ...],
    out: Path | None,
    assumed: Assumptions,
    *,
    json: bool,
) -> None:
    """Plan a scenario, write ``plan.parquet`` and print what it promises."""
    scenario = read_scenario(find_scenario(given), overrides)
    task = build_task(scenario, assumed)
    rivals = _compare(scenario, task)
    joint = next(rival for rival in rivals if rival.name == "joint")
    table = plan_table(task, joint)
    folder = claim_folder(scenario, PLANS) if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "plan.parquet")
    _show(scenario, task, rivals, table)
    typer.echo(_picture(table, folder))
    typer.echo(f"plan    {folder / 'plan.parquet'}")
    if json:
        typer.echo(json_format.dumps(_summary(folder, task, rivals)))


def plan_table(task: Task, joint: Rival) -> pa.Table:
    """Return the plan, one row per client."""
    problem, choice = task.problem, joint.choice
    load = choice.load(problem)
    return pa.table(
        {
            "client_id": np.arange(len(problem)),
            "device": [task.population.device(n).name for n in range(len(problem))],
            "weight": problem.data_weights,
            "sampling_probability": choice.probabilities,
            "rank": np.asarray(problem.ranks)[choice.rank_index],
            "compute_s": load.compute_s,
            "upload_unit_hz_s": load.need_hz_s,
            "limited_by": _limits(task, joint),
        }
    )


def _limits(task: Task, joint: Rival) -> list[str]:
    """Return memory where it rules out a rank, else the longer of computing and of
    sending with an equal share among the expected number."""
    load = joint.choice.load(task.problem)
    num_expected = max(float(joint.choice.probabilities.sum()), 1.0)
    upload_s = load.need_hz_s * num_expected / task.problem.band_hz
    limits = np.where(load.compute_s > upload_s, "compute", "uplink")
    found: list[str] = np.where(task.fits_memory.all(axis=1), limits, "memory").tolist()
    return found


def _compare(scenario: Scenario, task: Task) -> list[Rival]:
    num_clients = len(task.problem)
    return Comparison(
        problem=task.problem,
        at_top=at_top_rank(task.problem),
        surrogate=task.surrogate,
        sharing=scenario.cell.uplink.sharing.kind,
        num_rounds=max(16, min(1024, MAX_PAIRS // num_clients)),
        rng=lambda purpose: stream(scenario.seed, "plan", purpose),
    ).rivals()


def _show(
    scenario: Scenario, task: Task, rivals: Sequence[Rival], plan: pa.Table
) -> None:
    console = Console(soft_wrap=True, highlight=False)
    sharing = scenario.cell.uplink.sharing.kind
    console.print(_rival_table(rivals, sharing))
    console.print(_group_table(plan))
    for line in _notes(scenario, task):
        console.print(line, highlight=False, markup=False)


def _rival_table(rivals: Sequence[Rival], sharing: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("plan", "clients", "round s", "±", "bound s", "rounds", "time s"):
        table.add_column(heading, justify="left" if heading == "plan" else "right")
    table.add_column("of uniform", justify="right")
    uniform_s = _uniform_s(rivals)
    for rival in rivals:
        rule = "equal-fixed" if rival.name.endswith("equal sharing") else sharing
        round_s = rival.score.round_s
        table.add_row(
            rival.name,
            f"{float(rival.choice.probabilities.sum()):.1f}",
            f"{round_s.mean_s:.4g}",
            f"{round_s.error_s:.2g}",
            "none" if rule in NOT_BOUNDED else f"{rival.bound_s:.4g}",
            f"{rival.score.rounds:.4g}",
            f"{rival.score.total_s:.4g}",
            f"{rival.score.total_s / uniform_s:.3f}",
        )
    return table


def _uniform_s(rivals: Sequence[Rival]) -> float:
    return next(one.score.total_s for one in rivals if one.name == "uniform q")


def _group_table(plan: pa.Table) -> Table:
    groups = plan.group_by(["device", "limited_by"]).aggregate(
        [("client_id", "count"), ("sampling_probability", "mean"), ("rank", "mean")]
    )
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("device", "limited by", "clients", "mean q", "mean rank"):
        table.add_column(heading, justify="right")
    for row in groups.sort_by([("device", "ascending")]).to_pylist():
        table.add_row(
            row["device"],
            row["limited_by"],
            str(row["client_id_count"]),
            f"{row['sampling_probability_mean']:.3f}",
            f"{row['rank_mean']:.2f}",
        )
    return table


def _notes(scenario: Scenario, task: Task) -> list[str]:
    """Return what the figures rest on; nothing of it was measured."""
    lines = [
        "assumed, for want of pilots: all G_n equal, "
        f"beta/alpha {task.ratio:.4g}, nu {task.surrogate.nu:g}",
        "rounds are in the surrogate's unit: 100 at full participation and full rank",
        f"weights a_n/q_n at most {task.problem.max_weight:.4g}; "
        f"each round {task.problem.fixed_s:.4g} s of downlink, announcement and merge",
    ]
    if scenario.population.compute_jitter:
        lines.append("compute jitter is left out: real rounds are somewhat longer")
    if scenario.cell.uplink.radio.depends_on_share:
        lines.append("fixed power: rates taken on the whole band, so times are loose")
    if scenario.population.radio_band_hz is not None:
        lines.append("the radios' own band limit is left out")
    if scenario.cell.downlink.mode == "unicast":
        lines.append("unicast downloads count as if each were alone on the downlink")
    return lines


def _summary(folder: Path, task: Task, rivals: Sequence[Rival]) -> dict[str, object]:
    uniform_s = _uniform_s(rivals)
    return {
        "plan": str(folder / "plan.parquet"),
        "ratio": task.ratio,
        "nu": task.surrogate.nu,
        "plans": {
            one.name: {
                "round_s": one.score.round_s.mean_s,
                "round_error_s": one.score.round_s.error_s,
                "rounds": one.score.rounds,
                "total_s": one.score.total_s,
                "of_uniform": one.score.total_s / uniform_s,
            }
            for one in rivals
        },
    }


def _picture(plan: pa.Table, folder: Path) -> str:
    """Draw probability and rank over compute time, where altair is installed."""
    try:
        altair = importlib.import_module("altair")
        importlib.import_module("vl_convert")
    except ImportError:
        return "picture none: pip install 'netsim-fl[report]' for an SVG"
    columns = ("compute_s", "sampling_probability", "rank", "limited_by")
    rows = plan.select(columns).slice(0, 5000).to_pylist()
    chart = altair.Chart(altair.Data(values=rows)).mark_circle()
    chart.encode(
        x="compute_s:Q",
        y="sampling_probability:Q",
        color="limited_by:N",
        size="rank:Q",
    ).save(str(folder / "plan.svg"))
    return f"picture {folder / 'plan.svg'}"

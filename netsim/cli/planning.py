"""``netsim plan``: who takes part how often and at what rank, without training."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from netsim.cli.options import (
    AllowCodeOption,
    JsonOption,
    ScenarioArg,
    SeedOption,
    SetOption,
    overrides,
    user_code,
)
from netsim.cli.plan_picture import draw
from netsim.cli.plan_tables import advice, pasted, show, show_advice, uniform_s
from netsim.cli.writing import write_table
from netsim.core.streams import stream
from netsim.cosim.plan_problem import Assumptions, Task, build_task
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import claim_folder
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.policy.comparison import JOINT, Comparison, Rival
from netsim.policy.problem import at_top_rank

PLANS = Path("results") / "plans"
MAX_PAIRS = 2_000_000  # of (round, client) in one Monte Carlo of all clients


def plan(
    scenario: ScenarioArg,
    set_: SetOption = None,
    seed: SeedOption = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the plan.")] = None,
    ratio: Annotated[
        float | None, typer.Option(help="beta / alpha of rounds = beta + alpha V.")
    ] = None,
    nu: Annotated[
        float | None, typer.Option(help="Variance grows as (r / k) to this; 1 if none.")
    ] = None,
    max_weight: Annotated[
        float | None, typer.Option(help="The most that a_n / q_n may be.")
    ] = None,
    json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Choose who takes part how often and at what rank, without training."""
    code = user_code(allow_code)
    config = read_scenario(find_scenario(scenario), overrides(set_, seed), code)
    task = build_task(config, Assumptions(ratio=ratio, nu=nu, max_weight=max_weight))
    rivals = compare(config, task)
    joint = next(rival for rival in rivals if rival.name == JOINT)
    table = plan_table(task, joint)
    folder = claim_folder(config, PLANS) if out is None else out
    write_table(table, folder / "plan.parquet")
    show(config, task, rivals, table)
    totals_s = {one.name: one.score.total_s for one in rivals}
    typer.echo(f"constants of a policy, to paste: {pasted(task)}")
    typer.echo(f"picture {draw(table, totals_s, folder)}")
    typer.echo(f"plan    {folder / 'plan.parquet'}")
    text = advice(config, task, rivals)
    show_advice(text)
    if json:
        typer.echo(json_format.dumps(_summary(folder, task, rivals, text)))


def plan_table(task: Task, joint: Rival) -> pa.Table:
    """Return the plan, one row per client."""
    problem, choice = task.problem, joint.choice
    load = choice.load(problem)
    return pa.table(
        {
            "client_id": np.arange(len(problem)),
            "device": task.population.fleet.device_names(),
            "weight": problem.data_weights,
            "sampling_probability": choice.probabilities,
            "rank": np.asarray(problem.ranks)[choice.rank_index],
            "compute_s": load.compute_s,
            "upload_unit_hz_s": load.need_hz_s,
            "upload_alone_s": load.need_hz_s / problem.band_hz,
            "limited_by": limits(task, joint),
        }
    )


def limits(task: Task, joint: Rival) -> list[str]:
    """Return memory or the deadline where it rules out a rank, else the longer of
    computing and of sending with an equal share among the expected number."""
    problem = task.problem
    load = joint.choice.load(problem)
    num_expected = max(float(joint.choice.probabilities.sum()), 1.0)
    upload_s = load.need_hz_s * num_expected / problem.band_hz
    is_late = (task.fits_memory & ~problem.is_allowed).any(axis=1)
    found: list[str] = np.select(
        [~task.fits_memory.all(axis=1), is_late, load.compute_s > upload_s],
        ["memory", "deadline", "compute"],
        "uplink",
    ).tolist()
    return found


def compare(scenario: Scenario, task: Task) -> list[Rival]:
    """Return the joint plan and its baselines under the scenario's sharing rule."""
    num_clients = len(task.problem)
    return Comparison(
        problem=task.problem,
        at_top=at_top_rank(task.problem),
        surrogate=task.surrogate,
        sharing=scenario.single_cell("a plan").uplink.sharing.kind,
        num_rounds=max(16, min(1024, MAX_PAIRS // num_clients)),
        rng=lambda purpose: stream(scenario.seed, "plan", purpose),
    ).rivals()


def _summary(
    folder: Path, task: Task, rivals: Sequence[Rival], text: str
) -> dict[str, object]:
    against_s = uniform_s(rivals)
    return {
        "plan": str(folder / "plan.parquet"),
        "ratio": task.ratio,
        "nu": task.surrogate.nu,
        "advice": text,
        "plans": {one.name: _figures(one, against_s) for one in rivals},
    }


def _figures(rival: Rival, against_s: float) -> dict[str, float]:
    score = rival.score
    return {
        "num_expected": float(rival.choice.probabilities.sum()),
        "round_s": score.round_s.mean_s,
        "round_error_s": score.round_s.error_s,
        "rounds": score.rounds,
        "total_s": score.total_s,
        "total_error_s": score.total_error_s,
        "of_uniform": score.total_s / against_s,
    }

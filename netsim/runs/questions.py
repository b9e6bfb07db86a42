"""Answers to common questions about a run, each in a few lines over its tables.

Every function takes a run of ``netsim.load_run`` and returns a frame to read or to
draw; they are short so that a new question can be written in the same manner. The
first question, the time to a target, is ``run.time_to("accuracy", 0.9)``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from netsim.errors import InputError
from netsim.runs.run import Run, server_kind

PHASES = ["download_s", "compute_s", "upload_s"]
UHZ_PER_HZ = 1e6


def phases(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the seconds of each task's phases: zero for a phase that it did not reach,
    and the time until the cut for one that was cut. Uploads and downloads include
    waiting, retransmissions and latency."""
    end = tasks["end_ns"]
    compute = tasks["compute_start_ns"].fillna(end)
    upload = tasks["upload_start_ns"].fillna(end)
    return pd.DataFrame(
        {
            "download_s": _seconds(compute - tasks["download_start_ns"]),
            "compute_s": _seconds(upload - compute),
            "upload_s": _seconds(end - upload),
        }
    )


def stragglers(run: Run) -> pd.DataFrame:
    """Return per client, slowest relative to others first, the mean and worst duration
    of its tasks, the number of rounds in which no task ended later, the number of its
    tasks that were lost, and the mean of its tasks' durations, each relative to the
    median of its round (``slowdown``); of all tasks where it was alone in its round."""
    tasks = run.tasks.assign(task_s=phases(run.tasks).sum(axis=1))
    last_ns = tasks.groupby("round_id")["end_ns"].transform("max")
    tasks["is_last"] = tasks["end_ns"] == last_ns
    tasks["is_lost"] = ~tasks["status"].isin(["done", "unfinished", "unmerged"])
    by_round = tasks.groupby("round_id")["task_s"]
    usual_s = by_round.transform("median").where(
        by_round.transform("size") > 1, tasks["task_s"].median()
    )
    tasks["slowdown"] = tasks["task_s"] / usual_s
    by_client = tasks.groupby("client_id")
    found = by_client.agg(
        num_tasks=("task_s", "size"),
        num_lost=("is_lost", "sum"),
        mean_s=("task_s", "mean"),
        worst_s=("task_s", "max"),
        num_last=("is_last", "sum"),
        slowdown=("slowdown", "mean"),
    )
    found.insert(0, "device", run.clients.set_index("client_id")["device"])
    return found.sort_values("slowdown", ascending=False, kind="stable")


def band_use(run: Run) -> pd.DataFrame:
    """Return per cell and direction the share of the time with at least one transfer,
    the share of band and time in use, and the mean number of transfers meanwhile."""
    bands = run.bands
    bands = bands.assign(busy_s=_seconds(bands["end_ns"] - bands["start_ns"]))
    bands["live_s"] = bands["num_live"] * bands["busy_s"]
    used = bands["allocated_uhz"] / UHZ_PER_HZ / bands["band_hz"]
    bands["used_s"] = used * bands["busy_s"]  # seconds of the whole band
    sums = bands.groupby(["cell_id", "direction"], observed=True)[
        ["busy_s", "used_s", "live_s"]
    ].sum()
    return pd.DataFrame(
        {
            "busy_s": sums["busy_s"],
            "busy_share": sums["busy_s"] / duration_s(run),
            "used_share": sums["used_s"] / duration_s(run),
            "mean_live": sums["live_s"] / sums["busy_s"],
        }
    )


def participation(run: Run) -> pd.DataFrame:
    """Return per client, drawn or not, its number of tasks and of merged updates, its
    share of all weight in merges (``influence``) and its share of the data."""
    clients, tasks = run.clients.set_index("client_id"), run.tasks
    merged = tasks[tasks["merged_round_id"].notna()]
    found = pd.DataFrame(
        {"device": clients["device"], "data_weight": clients["weight"]}
    )
    found["num_tasks"] = tasks["client_id"].value_counts()
    found["num_merged"] = merged["client_id"].value_counts()
    weight = merged.groupby("client_id")["weight"].sum()
    found["influence"] = weight / weight.sum()
    counts = ["num_tasks", "num_merged"]
    found[counts] = found[counts].fillna(0).astype("int64")
    return found.fillna({"influence": 0.0})


def jain_index(counts: Iterable[float]) -> float:
    """Return Jain's fairness index ``(sum x)^2 / (n sum x^2)``: 1 if all are equal,
    ``1 / n`` if one has all, nan if all are zero."""
    values = np.asarray(list(counts), dtype=float)
    squares = len(values) * float(np.square(values).sum())
    return float(values.sum()) ** 2 / squares if squares else float("nan")


def bits(run: Run) -> pd.DataFrame:
    """Return per direction the number of messages, the bits of those that were done and
    of those that were cut or lost, and the bits that clients count: every attempt, and
    a broadcast once per client."""
    transfers, tasks = run.transfers, run.tasks
    is_done = transfers["status"] == "done"
    sent = transfers.assign(
        sent_bits=transfers["bits"].where(is_done, 0),
        cut_bits=transfers["bits"].mask(is_done, 0),
    )
    by_direction = sent.groupby("direction", observed=True)
    found = by_direction[["sent_bits", "cut_bits"]].sum()
    found.insert(0, "num_transfers", by_direction.size())
    clients = {"down": tasks["download_bits"].sum(), "up": tasks["upload_bits"].sum()}
    found["client_bits"] = pd.Series(clients).reindex(found.index)
    return found


def energy(run: Run) -> pd.DataFrame:
    """Return per device model the joules of its clients' tasks, in parts, in all and
    per task; clients use no energy outside tasks."""
    parts = ["compute_energy_j", "transmit_energy_j", "idle_energy_j"]
    devices = run.clients[["client_id", "device"]]
    joined = devices.merge(run.tasks[["client_id", "task_id", *parts]], how="left")
    by_device = joined.groupby("device", observed=True)
    found = by_device.agg(
        num_clients=("client_id", "nunique"), num_tasks=("task_id", "count")
    )
    found = found.join(by_device[parts].sum())
    found["total_j"] = found[parts].sum(axis=1)
    found["task_j"] = found["total_j"] / found["num_tasks"]
    return found


def merge_error(run: Run) -> pd.DataFrame:
    """Return per round the relative error of the merge: the mean over layers, the worst
    layer, and the mean error of plain averaging of the factors."""
    merges = run.merges.sort_values("relative_error", na_position="first")
    by_round = merges.groupby("round_id")
    worst = by_round.tail(1).set_index("round_id")
    found = by_round.agg(
        mean_error=("relative_error", "mean"),
        worst_error=("relative_error", "max"),
        average_error=("average_relative_error", "mean"),
    )
    found["worst_layer"] = worst["layer"]
    found.insert(0, "time_s", _round_ends_s(run, found.index))
    return found


def staleness(run: Run) -> pd.DataFrame:
    """Return per merge its number of updates and their staleness in versions, in the
    mean and at most; zero where the server waits for all clients."""
    merged = run.tasks.dropna(subset="merged_round_id")
    found = merged.groupby("merged_round_id").agg(
        num_merged=("task_id", "size"),
        mean_staleness=("staleness", "mean"),
        worst_staleness=("staleness", "max"),
    )
    found = found.astype({"mean_staleness": "float64", "worst_staleness": "int64"})
    found.index = found.index.astype("int64").rename("round_id")
    found.insert(0, "time_s", _round_ends_s(run, found.index))
    return found


def critical_path(run: Run) -> pd.DataFrame:
    """Return per round the last client to end, the seconds of its phases and of the
    server before and after them, which add up to the round, the longest of the four,
    and how much sooner the round would have ended without that client.

    ``sooner_s`` is the time between the last two ends, with all other times as
    recorded, no client drawn instead and a merge of the same length. It is a lower
    bound where a rule gives a freed share to others, or where a broadcast is as slow as
    its weakest client; it is missing for a client that was alone. A last client with
    status ``late`` stands for the deadline. Of several that end together the lowest id
    counts, and an arrival counts before a client that is cut off by it. A round without
    clients has only its length.

    It needs a server that works in rounds: a buffer's merges wait for no single client.
    :func:`without_clients` and :func:`without_phases` sum over all rounds.
    """
    _require_rounds(run)
    tasks = run.tasks.join(phases(run.tasks))
    last = _last_of_rounds(tasks).set_index("round_id").add_prefix("task_")
    found = run.rounds.set_index("round_id")[["start_ns", "end_ns"]].join(last)
    before = found["task_download_start_ns"] - found["start_ns"]
    after = found["end_ns"] - found["task_end_ns"]
    table = pd.DataFrame(
        {
            "round_s": _seconds(found["end_ns"] - found["start_ns"]),
            "client_id": found["task_client_id"].astype("Int64"),
            "status": found["task_status"],
            **{phase: found[f"task_{phase}"] for phase in PHASES},
            "server_s": _seconds(before + after),
        }
    )
    parts = table[[*PHASES, "server_s"]].fillna(-1.0).rename(columns=lambda s: s[:-2])
    longest = parts.idxmax(axis="columns")
    table["longest"] = longest.where(table["client_id"].notna())
    table["sooner_s"] = _seconds(found["task_end_ns"] - found["task_end_before_ns"])
    return table


def without_clients(run: Run) -> pd.DataFrame:
    """Return per client, most costly first, the number of rounds in which it was the
    last to end, and how many seconds sooner the run would have ended without it
    (``saved_s``), without its downloads, its computing or its uploads.

    Every round is timed from the recorded times under the assumptions of
    :func:`critical_path`: lower bounds where freed band helps others. Of a round with
    one client alone, all but the server's part is saved.
    """
    rounds = _last_of_rounds(_timed_tasks(run))
    own = rounds["worked_s"]
    lead_s = _seconds(rounds["end_ns"] - rounds["end_before_ns"])
    others = (own - lead_s).fillna(0.0)
    found = pd.DataFrame({"client_id": rounds["client_id"], "num_last": 1})
    found["saved_s"] = own - others
    for phase in PHASES:
        found[f"without_{phase}"] = own - np.maximum(others, own - rounds[phase])
    found = found.groupby("client_id").sum()
    clients = run.clients.set_index("client_id")
    found = found.reindex(clients.index.union(found.index), fill_value=0)
    found.insert(0, "device", clients["device"].reindex(found.index))
    found["speedup"] = _speedup(run, found["saved_s"])
    return found.sort_values("saved_s", ascending=False, kind="stable")


def without_phases(run: Run) -> pd.DataFrame:
    """Return per phase, and for the server's own part, how many seconds sooner the run
    would have ended if that phase took no time, all else as recorded.

    Every round then ends with the client that takes longest in the other phases. The
    savings do not add up: without one phase another client may be the last.
    """
    tasks = _timed_tasks(run)
    last_s = tasks.groupby("round_id")["worked_s"].max()
    saved = {}
    for phase in PHASES:
        rest_s = (tasks["worked_s"] - tasks[phase]).groupby(tasks["round_id"]).max()
        saved[phase.removesuffix("_s")] = float((last_s - rest_s).sum())
    saved["server"] = duration_s(run) - _begin_s(run) - float(last_s.sum())
    found = pd.DataFrame({"saved_s": pd.Series(saved)}).rename_axis("phase")
    found["speedup"] = _speedup(run, found["saved_s"])
    return found


def idle_time(run: Run) -> pd.DataFrame:
    """Return per client the seconds of its phases in the whole run, and its idle time:
    waiting for the server, or not drawn."""
    spent = phases(run.tasks).groupby(run.tasks["client_id"]).sum()
    clients = run.clients.set_index("client_id")
    found = spent.reindex(clients.index, fill_value=0.0)
    found.insert(0, "device", clients["device"])
    found["idle_s"] = duration_s(run) - found[PHASES].sum(axis=1)
    found["idle_share"] = found["idle_s"] / duration_s(run)
    return found


def round_spans(run: Run) -> pd.DataFrame:
    """Return per round its phase, start and end; where every cell has a server of its
    own, from the first edge server's start to the last one's end."""
    rounds = run.rounds
    if server_kind(run.folder) == "hierarchical":
        rounds = rounds[rounds["server_id"] < len(run.cells)]
    return rounds.groupby("round_id").agg(
        phase=("phase", "first"), start_ns=("start_ns", "min"), end_ns=("end_ns", "max")
    )


def release_times_ns(run: Run) -> pd.Series[int]:
    """Return per task when its round ended at its own server; missing if it did not."""
    homes = run.clients.set_index("client_id")["cell_id"]
    has_edges = server_kind(run.folder) == "hierarchical"
    servers = run.tasks["client_id"].map(homes) if has_edges else 0
    tasks = run.tasks[["round_id"]].assign(server_id=servers)
    ends = run.rounds[["round_id", "server_id", "end_ns"]]
    return tasks.merge(ends, "left", ["round_id", "server_id"])["end_ns"]


def duration_s(run: Run) -> float:
    """Return when the last round ended, in seconds."""
    return float(run.rounds["end_ns"].max()) / 1e9


def _timed_tasks(run: Run) -> pd.DataFrame:
    """Return the tasks of finished rounds with their phases, and how long after the
    first of its round began each of them ended (``worked_s``)."""
    _require_rounds(run)
    tasks = run.tasks[run.tasks["round_id"].isin(run.rounds["round_id"])]
    begins_ns = tasks.groupby("round_id")["download_start_ns"].transform("min")
    worked_s = _seconds(tasks["end_ns"] - begins_ns)
    return tasks.join(phases(tasks)).assign(worked_s=worked_s)


def _begin_s(run: Run) -> float:
    """Return when the first round began, in seconds."""
    return float(run.rounds["start_ns"].min()) / 1e9


def _speedup(run: Run, saved_s: pd.Series[float]) -> pd.Series[float]:
    """Return the factor by which the run is shorter if the seconds are saved."""
    whole_s = duration_s(run) - _begin_s(run)
    return whole_s / (whole_s - saved_s)


def _last_of_rounds(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the last task of every round, with the end of the task before it. Of
    several that end together one that was not cut as surplus, then the lowest client's,
    is the last."""
    keys = ["round_id", "end_ns", "is_surplus", "client_id"]
    tasks = tasks.assign(is_surplus=tasks["status"] == "surplus")
    tasks = tasks.sort_values(keys, ascending=[True, True, False, False])
    by_round = tasks.groupby("round_id")
    return (
        tasks.assign(end_before_ns=by_round["end_ns"].shift())
        .groupby("round_id")
        .tail(1)
    )


def _round_ends_s(run: Run, round_ids: pd.Index[int]) -> pd.Series[float]:
    ends_ns = run.rounds.groupby("round_id")["end_ns"].max()
    return _seconds(ends_ns.reindex(round_ids))


def _seconds(times_ns: pd.Series[int]) -> pd.Series[float]:
    return times_ns.astype("float64") / 1e9


def why_no_path(run: Run) -> str:
    """Return why a run has no critical path; empty if it has one."""
    kind = server_kind(run.folder)
    if kind == "hierarchical":
        return "needs rounds of one server, and every edge server has its own"
    is_stale = bool((run.tasks["staleness"].fillna(0) > 0).any())
    if is_stale or kind in ("asynchronous", "buffered"):
        return "needs a server that works in rounds and merges no late updates"
    return ""


def _require_rounds(run: Run) -> None:
    why = why_no_path(run)
    if why:
        raise InputError(
            f"{run.folder}: a critical path {why}; stragglers(run) says who is slow"
        )

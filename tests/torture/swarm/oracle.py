"""What every trace must fulfil, from the sentences of ``netsim/TRACE.md`` alone.

Each check yields sentences about what is wrong; none uses code of netsim.
"""

from itertools import pairwise

from tests.torture.swarm.bands import exact_work, full_bands

PHASES = (
    "download_start_ns",
    "download_end_ns",
    "compute_start_ns",
    "compute_end_ns",
    "upload_start_ns",
)
MERGED = "done"
LOST = ("failed", "outage")
ENERGIES = ("compute_energy_j", "transmit_energy_j", "idle_energy_j")
NANO = {"ms": 10**6, "s": 10**9}


def amount_ns(text):
    """Return a time of the scenario in nanoseconds."""
    number, unit = text.split()
    return int(number) * NANO[unit]


def phases_in_order(tables, scenario):
    for task in tables.tasks:
        times = [task[name] for name in PHASES]
        known = [one for one in times if one is not None]
        if known != times[: len(known)]:
            yield f"task {task['task_id']}: a phase begins that has no start"
        ends = [] if task["end_ns"] is None else [task["end_ns"]]
        if sorted(known + ends) != known + ends:
            yield f"task {task['task_id']}: phases out of order"


def one_task_at_a_time(tables, scenario):
    for client, tasks in tables.by("tasks", "client_id").items():
        tasks.sort(key=lambda one: (one["download_start_ns"], one["end_ns"]))
        for one, other in pairwise(tasks):
            if one["end_ns"] > other["download_start_ns"]:
                yield f"client {client}: tasks {one['task_id']}, {other['task_id']}"


def merges_are_tasks(tables, scenario):
    is_split = scenario["server"]["kind"] == "hierarchical"
    cells = {one["client_id"]: one["cell_id"] for one in tables.clients}
    merged = {}
    for task in tables.tasks:
        server = cells[task["client_id"]] if is_split else 0
        merged.setdefault((task["merged_round_id"], server), []).append(task)
    for row in tables.rounds:
        if is_split and row["server_id"] == len(tables.cells):
            continue  # the cloud merges edges
        tasks = merged.get((row["round_id"], row["server_id"]), [])
        if row["num_merged"] != len(tasks):
            yield f"round {row['round_id']}: merged {row['num_merged']}, {len(tasks)}"
        for task in tasks:
            if not task["end_ns"] <= row["end_ns"]:
                yield f"task {task['task_id']} merged before it arrived"
    for task in tables.tasks:
        if (task["status"] == MERGED) != (task["merged_round_id"] is not None):
            yield f"task {task['task_id']}: {task['status']} and its merge disagree"


def rounds_follow(tables, scenario):
    for server, rounds in tables.by("rounds", "server_id").items():
        for one, other in pairwise(rounds):
            if other["start_ns"] < one["end_ns"]:
                yield f"server {server}: round {other['round_id']} begins too early"
    for row in tables.rounds:
        if row["end_ns"] < row["start_ns"]:
            yield f"round {row['round_id']} ends before it begins"
    lost = sum(row["num_dropped"] for row in tables.rounds)
    if lost > sum(task["status"] != MERGED for task in tables.tasks):
        yield f"rounds lost {lost} tasks, more than there are"


def attempts(tables, scenario):
    """Attempts do not overlap, are no more than allowed, and end with success."""
    cells = scenario.get("cells") or [scenario["cell"]]
    links = {"up": cells[0]["uplink"], "down": cells[0]["downlink"]}
    found = {}
    for row in tables.transfers:
        if row["task_id"] is not None:
            found.setdefault((row["task_id"], row["direction"]), []).append(row)
    for (task, way), rows in found.items():
        rows.sort(key=lambda row: (row["start_ns"], row["end_ns"]))
        most = (links[way].get("errors") or {"max_retries": 0})["max_retries"] + 1
        if len(rows) > most:
            yield f"task {task}: {len(rows)} attempts {way}"
        for one, other in pairwise(rows):
            if one["end_ns"] > other["start_ns"] or one["status"] not in LOST:
                yield f"task {task}: an attempt {way} after one that was not lost"


def within_the_task(tables, scenario):
    tasks = {task["task_id"]: task for task in tables.tasks}
    for row in tables.transfers:
        task = tasks.get(row["task_id"])
        if task is None:
            continue
        start = task["upload_start_ns" if row["direction"] == "up" else PHASES[0]]
        if start is None or row["start_ns"] < start or row["end_ns"] > task["end_ns"]:
            yield f"transfer {row['transfer_id']} outside its task"


def bits_add_up(tables, scenario):
    """A task that was merged has sent its update whole, once."""
    sent = {}
    for row in tables.transfers:
        if row["direction"] == "up" and row["status"] == "done":
            sent[row["task_id"]] = sent.get(row["task_id"], 0) + row["bits"]
    for task in tables.tasks:
        if task["status"] == MERGED and sent.get(task["task_id"]) is None:
            yield f"task {task['task_id']} was merged and sent nothing"


def energies(tables, scenario):
    """Energy is not negative; computing costs each client one power."""
    powers = {}
    for task in tables.tasks:
        if min(task[name] for name in ENERGIES) < 0:
            yield f"task {task['task_id']}: negative energy"
        if task["compute_end_ns"] is None:
            continue
        lasts_ns = task["compute_end_ns"] - task["compute_start_ns"]
        if lasts_ns:
            power = task["compute_energy_j"] / lasts_ns
            first = powers.setdefault(task["client_id"], power)
            if abs(power / first - 1) > 1e-6:
                yield f"task {task['task_id']}: computes at another power"


def weights(tables, scenario):
    total = sum(client["weight"] for client in tables.clients)
    if abs(total - 1) > 1e-9:
        yield f"weights of clients sum to {total}"
    for plan in tables.plans:
        q = plan["sampling_probability"]
        if q is not None and not 0 < q <= 1:
            yield f"client {plan['client_id']}: probability {q}"


def events_in_order(tables, scenario):
    times = [row["time_ns"] for row in tables.events]
    if times != sorted(times):
        yield "events out of order"
    stops = [row["time_ns"] for row in tables.events if row["kind"] == "stop"]
    if stops != times[-1:]:
        yield f"stops at {stops}, the last event at {times[-1:]}"


def deliveries(tables, scenario):
    """A message is delivered after its last bit, once, if it went through."""
    ends = {row["transfer_id"]: row for row in tables.transfers}
    seen = set()
    for row in tables.arrivals:
        transfer = ends[row["transfer_id"]]
        if row["arrival_ns"] < transfer["end_ns"] or transfer["status"] != "done":
            yield f"transfer {row['transfer_id']} delivered too early"
        if row["transfer_id"] in seen:
            yield f"transfer {row['transfer_id']} delivered twice"
        seen.add(row["transfer_id"])


def nothing_after_the_end(tables, scenario):
    last = tables.events[-1]["time_ns"]
    for name in ("tasks", "transfers", "segments", "bands", "rounds", "crossings"):
        late = [row for row in getattr(tables, name) if row["end_ns"] > last]
        if late:
            yield f"{name}: rows end after the run"
    limit = scenario["stop"].get("time")
    if limit is not None and last > amount_ns(limit) and not tables.rounds:
        yield "the run exceeds its time"


CHECKS = (
    phases_in_order,
    one_task_at_a_time,
    merges_are_tasks,
    rounds_follow,
    attempts,
    within_the_task,
    bits_add_up,
    energies,
    weights,
    events_in_order,
    deliveries,
    nothing_after_the_end,
    exact_work,
    full_bands,
)


def wrong(tables, scenario):
    """Return what is wrong, each with the name of its check."""
    return [
        f"{check.__name__}: {sentence}"
        for check in CHECKS
        for sentence in check(tables, scenario)
    ]

"""What the reference takes from a run: the scenario, and what floats decided."""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
HERTZ = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}


def amount(text, units):
    """Return a quantity of the YAML in the smallest unit."""
    number, unit = str(text).split()
    value = Fraction(number) * units[unit]
    assert value.denominator == 1, text
    return int(value)


@dataclass
class Given:
    """One run as the reference clock is told of it."""

    up_uhz: int
    down_uhz: int
    sharing: str
    down_sharing: str | None
    broadcast: bool
    announce: int
    merge: int
    deadline: int | None
    merge_first: int | None
    late: str
    concurrency: int
    buffer_size: int
    num_rounds: int
    up_latency: int
    down_latency: int
    retries: int
    backoff: int
    backoff_factor: int
    radio_uhz: int | None
    down_bits: int
    upload: dict
    compute: dict
    drawn: dict
    order: list
    terms: dict = field(default_factory=dict)
    lost: dict = field(default_factory=dict)
    rows: dict = field(default_factory=dict)

    def most_uhz(self, band_uhz):
        """Return the widest share that a client's radio can use of a band."""
        return min(band_uhz, self.radio_uhz or band_uhz)

    def up_bits(self, client):
        """Return the bits of an update."""
        return self.upload[client]


def _terms(run):
    """Return the recorded terms of each transfer."""
    terms = defaultdict(list)
    for row in run.segments.sort_values("start_ns").itertuples():
        pinned = None if str(row.pinned_uhz) == "<NA>" else int(row.pinned_uhz)
        terms[int(row.transfer_id)].append(
            {
                "start": int(row.start_ns),
                "end": int(row.end_ns),
                "weight": int(row.weight),
                "pinned": pinned,
                "efficiency": int(row.spectral_efficiency_nbit_s_hz),
            }
        )
    return terms


def _keys(run):
    """Return the name of each transfer: direction, task or round, attempt."""
    keys, attempts = {}, defaultdict(int)
    for row in run.transfers.sort_values(["start_ns", "transfer_id"]).itertuples():
        if str(row.task_id) == "<NA>":
            keys[int(row.transfer_id)] = ("down", int(row.round_id))
            continue
        way = (row.direction, int(row.task_id))
        keys[int(row.transfer_id)] = (*way, attempts[way])
        attempts[way] += 1
    return keys


def given_of(run, scenario):
    """Return what the reference needs of a run."""
    server, cell, learning = (scenario[k] for k in ("server", "cell", "learning"))
    up, down, errors = (
        cell["uplink"],
        cell["downlink"],
        cell["uplink"].get("errors") or {},
    )
    tasks = run.tasks.sort_values("task_id")
    rounds = server["kind"] in ("synchronous", "deadline")
    drawn = defaultdict(list)
    for row in tasks.itertuples():
        drawn[int(row.round_id)].append((int(row.task_id), int(row.client_id)))
    keys, terms = _keys(run), _terms(run)
    lasts = (tasks.compute_end_ns - tasks.compute_start_ns).dropna()
    transfers = run.transfers.set_index("transfer_id")
    radio = scenario["population"].get("radio_band")
    bits = learning["upload"]
    bits = bits if isinstance(bits, list) else [bits] * len(run.clients)
    size = {"kB": 8000, "MB": 8_000_000, "B": 8, "bit": 1}
    return Given(
        up_uhz=amount(up["band"], HERTZ) * 10**6,
        down_uhz=amount(down["band"], HERTZ) * 10**6,
        sharing=up["sharing"],
        down_sharing=down.get("sharing"),
        broadcast=down.get("mode", "broadcast") == "broadcast",
        announce=amount(server.get("announce_time", "0 s"), UNITS),
        merge=amount(server["merge_time"], UNITS),
        deadline=amount(server["deadline"], UNITS) if "deadline" in server else None,
        merge_first=server.get("merge_first"),
        late=server.get("late", "drop"),
        concurrency=server.get("concurrency", 0),
        buffer_size=server.get("buffer_size", 1),
        num_rounds=scenario["stop"]["rounds"],
        up_latency=amount(up.get("latency", "0 s"), UNITS),
        down_latency=amount(down.get("latency", "0 s"), UNITS),
        retries=errors.get("max_retries", 0),
        backoff=amount(errors.get("backoff", "0 s"), UNITS),
        backoff_factor=errors.get("backoff_factor", 1),
        radio_uhz=radio and amount(radio, HERTZ) * 10**6,
        down_bits=amount(learning["download"], size),
        upload=dict(enumerate(amount(one, size) for one in bits)),
        compute={int(tasks.task_id[i]): int(value) for i, value in lasts.items()},
        drawn=drawn,
        order=[] if rounds else [one for k in sorted(drawn) for one in drawn[k]],
        terms={keys[number]: rows for number, rows in terms.items()},
        lost={keys[i]: True for i, how in transfers.status.items() if how == "failed"},
        rows={keys[i]: row for i, row in transfers.iterrows()},
    )

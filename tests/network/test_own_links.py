"""Clients with a measured link to themselves, against counts of packets by hand."""

import bisect
import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim import load_run
from netsim.band import Message, OwnLinks
from netsim.channel import Link, NoFading
from netsim.channel.capacity import CapacityTable, Step
from netsim.channel.own_links import LINK_HZ, MeasuredLinks, OwnLink
from netsim.core.engine import Engine
from netsim.cosim.cost import estimate
from netsim.cosim.plan_problem import Assumptions, build_task
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.trace import rows
from netsim.trace.tables import Rows
from netsim.verify import verify
from netsim.verify.clock import check_clock
from tests.support.places import DATA

MS = 10**6
PACKET = 12_000
CELLULAR = sorted((DATA / "cellular").glob("*.up"))
TRACES = Path(find_scenario("measured-links")).parent / "traces"
every_file = pytest.mark.parametrize(
    "path", [*sorted(TRACES.glob("*.up")), *CELLULAR], ids=lambda path: path.name
)


def marks_of(path):
    return [int(word) for word in path.read_text().split()]


def packets_by(marks_ms, now_ms):
    """Return how many opportunities there were by a millisecond, lap after lap."""
    laps, within = divmod(now_ms, marks_ms[-1])
    return laps * len(marks_ms) + bisect.bisect_right(marks_ms, within)


def sent(tables, chosen, uploads):
    """Return the ledger of uploads given as (start in ns, bits), one client each."""
    env, ledger = Engine(), Rows()
    links = OwnLinks(
        env,
        cell_id=0,
        direction="up",
        tables=tables,
        choice=lambda client_id: chosen[client_id],
        ledger=ledger,
        transfer_ids=itertools.count(),
    )

    def client(client_id, start_ns, size_bits):
        yield env.timeout(start_ns)
        channel = Link(1.0, NoFading(), 0, "up", client_id)
        yield links.send(Message(0, size_bits, client_id, client_id), channel).done

    for client_id, upload in enumerate(uploads):
        env.process(client(client_id, *upload))
    env.run()
    return ledger


def ends_ns(ledger):
    return {row.client_id: row.end_ns for row in ledger.transfers}


def audit(ledger, tables):
    laps = [
        rows.Lap(file_id, *step)
        for file_id, table in enumerate(tables)
        for step in table.steps
    ]
    trace = Rows(**{**vars(ledger), "laps": laps})
    return [finding.rule for finding in check_clock(trace)]


# bits and ends against packets


@pytest.mark.slow
@every_file
def test_a_link_carries_the_packets_of_its_file_at_every_millisecond(path):
    links = MeasuredLinks(files=(str(path),), start_offset_s="random")
    (table,), marks_ms = links.tables(), marks_of(path)
    _, offset_ns = links.link(7, 0)
    offset_ms, rest_ns = divmod(offset_ns, MS)
    assert rest_ns == 0
    assert 0 < offset_ms < marks_ms[-1]
    before, packet = table.at(offset_ns), PACKET * 10**18 // LINK_HZ
    count_before = packets_by(marks_ms, offset_ms)
    for now_ms in range(marks_ms[-1] + 1):
        carried = table.at(now_ms * MS + offset_ns) - before
        count = packets_by(marks_ms, offset_ms + now_ms) - count_before
        assert abs(carried - count * packet) < packet


@every_file
def test_uploads_end_with_their_last_packet(path):
    marks_ms = marks_of(path)
    sizes = [1, PACKET, 30 * PACKET + 1, 2_400_000]
    starts_ms = [0, 3, 1234, marks_ms[-1] - 1]
    offset_ms = marks_ms[-1] // 3
    uploads = [(s * MS, size) for s in starts_ms for size in sizes]
    links = MeasuredLinks(files=(str(path),), start_offset_s=offset_ms / 1000)
    chosen = [links.link(0, client_id) for client_id in range(len(uploads))]
    assert set(chosen) == {OwnLink(0, offset_ms * MS)}
    ledger = sent(links.tables(), chosen, uploads)
    found = ends_ns(ledger)
    for client_id, (start_ns, size_bits) in enumerate(uploads):
        now_ms = start_ns // MS + offset_ms
        need = packets_by(marks_ms, now_ms) + -(-size_bits // PACKET)
        last_ms = now_ms
        while packets_by(marks_ms, last_ms) < need:
            last_ms += 1
        end_ns = found[client_id] + offset_ms * MS
        assert (last_ms - 1) * MS < end_ns <= last_ms * MS
    assert audit(ledger, links.tables()) == []


laps = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 5)), min_size=1, max_size=5
).filter(lambda steps: any(efficiency for _, efficiency in steps))


@settings(deadline=None, max_examples=80)
@given(
    steps=laps,
    offset_ns=st.integers(0, 100),
    uploads=st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=1, max_size=4
    ),
)
def test_a_link_is_what_passes_tick_by_tick(steps, offset_ns, uploads):
    """Over 1 MHz, an efficiency of 10^12 nbit/s/Hz is one bit per tick."""
    by_tick = [e for span, e in steps for _ in range(span)]
    edges = [0, *itertools.accumulate(span for span, _ in steps)]
    table = CapacityTable(
        [
            Step(edges[n], edges[n + 1], efficiency * 10**12)
            for n, (_, efficiency) in enumerate(steps)
        ]
    )
    ledger = sent([table], [OwnLink(0, offset_ns)] * len(uploads), uploads)
    for client_id, (start_ns, size_bits) in enumerate(uploads):
        now_ns, left = start_ns, size_bits
        while left > 0:
            left -= by_tick[(now_ns + offset_ns) % len(by_tick)]
            now_ns += 1
        assert ends_ns(ledger)[client_id] == now_ns
    assert audit(ledger, [table]) == []


@given(steps=laps, offset_ns=st.integers(0, 300), now_ns=st.integers(0, 300))
def test_a_lap_from_an_offset_is_the_lap_moved(steps, offset_ns, now_ns):
    edges = [0, *itertools.accumulate(span for span, _ in steps)]
    table = CapacityTable(
        [Step(edges[n], edges[n + 1], steps[n][1]) for n in range(len(steps))]
    )
    moved = table.from_offset(offset_ns)
    assert moved.period_ns == table.period_ns
    assert moved.at(now_ns) == table.at(now_ns + offset_ns) - table.at(offset_ns)


def test_two_clients_have_a_link_each(tmp_path):
    (tmp_path / "a.up").write_text("2\n2\n5\n")
    (tmp_path / "b.up").write_text("1\n4\n")
    links = MeasuredLinks(files=(str(tmp_path / "a.up"), str(tmp_path / "b.up")))
    assert [links.link(1, n) for n in range(3)] == [(0, 0), (1, 0), (0, 0)]
    uploads = [(0, 3 * PACKET), (MS, 3 * PACKET), (0, 5 * PACKET)]
    ledger = sent(links.tables(), [links.link(1, n) for n in range(3)], uploads)
    # a: 2 packets by 2 ms, 3 by 5, 5 by 7. b: 1 by 1 ms, 2 by 4, 3 by 5, 4 by 8
    assert ends_ns(ledger) == {0: 5 * MS, 1: 8 * MS, 2: 7 * MS}
    assert [row.client_id for row in ledger.links] == [0, 2, 1]  # as they are used
    assert audit(ledger, links.tables()) == []


def test_files_and_offsets_are_drawn_for_each_client(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.up").write_text("5\n1000\n")
    files = tuple(str(tmp_path / f"{name}.up") for name in "abc")
    links = MeasuredLinks(files=files, assignment="random", start_offset_s="random")
    drawn = [links.link(3, client_id) for client_id in range(600)]
    assert drawn == [links.link(3, client_id) for client_id in range(600)]
    assert drawn[:9] != [links.link(4, client_id) for client_id in range(9)]
    for file_id in range(3):
        assert sum(link.file_id == file_id for link in drawn) == pytest.approx(
            200, abs=50
        )
    offsets_ms = [link.offset_ns / MS for link in drawn]
    assert sum(offsets_ms) / 600 == pytest.approx(500, abs=50)
    assert max(offsets_ms) < 1000


# the audit


def test_forged_links_are_found(tmp_path):
    (tmp_path / "a.up").write_text("2\n2\n5\n")
    links = MeasuredLinks(files=(str(tmp_path / "a.up"),))
    tables = links.tables()
    ledger = sent(tables, [OwnLink(0, 0)] * 2, [(0, 3 * PACKET), (0, PACKET)])
    assert audit(ledger, tables) == []
    first = ledger.links[0]

    def found(**changes):
        return set(audit(Rows(**{**vars(ledger), **changes}), tables))

    moved = [first._replace(offset_ns=MS), *ledger.links[1:]]
    assert found(links=moved) == {"work must not reach the bits before end_ns"}
    nowhere = [first._replace(file_id=9), *ledger.links[1:]]
    assert "a link must start within one pass of its trace" in found(links=nowhere)
    assert "a client has one link" in found(links=[first, *ledger.links])
    half = [ledger.segments[0]._replace(pinned_uhz=5), *ledger.segments[1:]]
    assert "a segment must hold the whole of its client's own link" in found(
        segments=half
    )
    twice = [row._replace(client_id=first.client_id) for row in ledger.transfers]
    assert "a client's own link must carry one transfer at a time" in found(
        transfers=twice
    )
    broken = [CapacityTable([Step(0, 5 * MS, 1)])]
    assert "work must reach the bits at end_ns" in set(audit(ledger, broken))


def test_a_forged_lap_is_found():
    laps = [rows.Lap(0, 0, 5, 1), rows.Lap(0, 6, 7, 1), rows.Lap(1, 0, 5, 0)]
    assert [one.rule for one in check_clock(Rows(laps=laps))] == [
        "rows must tile one pass of the trace from time zero on",
        "efficiencies must not be negative, nor all zero",
    ]


# scenarios


def shipped(*overrides):
    return read_scenario(find_scenario("measured-links"), ("stop.rounds=3", *overrides))


LOSSY = "cell.uplink.errors={probability: 0.3, max_retries: 1, backoff: 10 ms}"
DEADLINE = (
    "server={kind: deadline, deadline: 5 s, sampling: full, announce_time: 1 ms, "
    "merge_time: 0 s}"
)


@pytest.mark.parametrize("overrides", [(), (LOSSY,), (DEADLINE,), (LOSSY, DEADLINE)])
def test_runs_over_own_links_are_sound_and_come_again(overrides, tmp_path):
    manifest = run_scenario(shipped(*overrides), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    again = run_scenario(shipped(*overrides), tmp_path / "again")
    assert again.network_digest == manifest.network_digest
    run = load_run(tmp_path / "run")
    ups = run.transfers[run.transfers["direction"] == "up"]
    assert set(run.links["client_id"]) == set(ups["client_id"])
    assert set(run.bands["direction"]) == {"down"}  # nobody is on the uplink's band
    assert (LOSSY in overrides) == ("failed" in set(ups["status"]))
    assert (DEADLINE in overrides) == ("late" in set(ups["status"]))
    # a segment per transfer and no more, whatever its trace did meanwhile
    assert run.segments["transfer_id"].is_unique
    sending_j = run.tasks.loc[run.tasks["upload_start_ns"].notna(), "transmit_energy_j"]
    assert (sending_j > 0).all()


def test_rates_over_time_make_a_link_as_well(tmp_path):
    (tmp_path / "rates.csv").write_text("time,rate\n0,1e6\n2,4e6\n3,4e6\n")
    links = (
        f"population.links={{kind: measured, files: [{tmp_path / 'rates.csv'}], "
        "format: csv, start_offset: 1 s}"
    )
    given = shipped(links, "learning.compute=0 FLOP", "learning.download=0 bit")
    run_scenario(given, tmp_path / "run")
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    first = run.transfers[run.transfers["round_id"] == 1]
    # 2.4 Mbit from 10 ms on: 0.99 at 1 Mbit/s until the rate changes at 1 s
    expected_ns = 10**9 + 1_410_000 * 10**9 // 4_000_000
    assert (first["start_ns"] == 10 * MS).all()
    assert (first["end_ns"] == expected_ns).all()


def test_others_on_the_network_do_not_slow_a_link(tmp_path):
    ends = []
    for num_drawn in (4, 20):
        folder = tmp_path / str(num_drawn)
        sampling = f"server.sampling={{kind: uniform, num_drawn: {num_drawn}}}"
        run_scenario(
            shipped(sampling, "stop.rounds=1", "learning.download=0 bit"), folder
        )
        run = load_run(folder)
        ups = run.transfers[run.transfers["direction"] == "up"].set_index("client_id")
        tasks = run.tasks.set_index("client_id")
        assert (tasks["end_ns"] - ups["end_ns"] == 30 * MS).all()  # its latency
        ends.append((ups["end_ns"] - ups["start_ns"]).to_dict())
    few, many = ends
    assert few == {client_id: many[client_id] for client_id in few}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("cell.uplink.sharing=equal-finish",), "none is on it"),
        (("cell.uplink.minimum_snr=0 dB",), "no meaning with population.links"),
        (
            ("policy={kind: proportional, to: system, num_expected: 4}",),
            "share the band",
        ),
        (("population.links.files=[]",), "links.files"),
        (("population.links.files=[nowhere.up]",), r"nowhere\.up' cannot be read"),
        (("population.links.start_offset=later",), "must be 'random'"),
        (("population.links=mesh",), "unknown kind 'mesh'"),
    ],
)
def test_what_own_links_cannot_heed_is_refused(overrides, message):
    if overrides[0].startswith("policy"):
        overrides = (
            *overrides,
            "server={kind: synchronous, announce_time: 0 s, merge_time: 0 s}",
        )
    with pytest.raises(InputError, match=message):
        shipped(*overrides)


def test_a_check_says_how_long_an_upload_takes(tmp_path):
    (tmp_path / "fast.up").write_text("1\n2\n")  # 12 Mbit/s
    (tmp_path / "slow.up").write_text("2\n4\n")
    files = f"[{tmp_path / 'fast.up'}, {tmp_path / 'slow.up'}]"
    given = shipped(f"population.links.files={files}", "learning.upload=3 MB")
    learner = given.learning.learner(20, 1, reuse=False)
    told = "one upload over a link of its own takes 2.00 s to 4.00 s in the mean"
    assert told in estimate(given, learner)


def test_a_plan_for_an_unused_band_is_refused():
    with pytest.raises(InputError, match="do not share it"):
        build_task(shipped(), Assumptions())


def test_a_measured_band_starts_where_it_is_told(tmp_path):
    (tmp_path / "a.up").write_text("2\n2\n5\n9\n")
    start = {}
    for offset in ("0 s", "2 ms", "random"):
        radio = (
            f"cell.uplink.radio={{kind: measured, path: {tmp_path / 'a.up'}, "
            f"reference_band: 1 MHz, start_offset: {offset}}}"
        )
        given = read_scenario(find_scenario("network-only"), (radio, "stop.rounds=1"))
        run_scenario(given, tmp_path / offset[:1])
        assert verify(tmp_path / offset[:1]) == []
        start[offset] = load_run(tmp_path / offset[:1]).capacities
    early, later = start["0 s"], start["2 ms"]
    # nothing in the first of 9 ms, two packets in the second
    assert early["end_ns"].tolist()[:2] == [MS, 2 * MS]
    assert later["spectral_efficiency_nbit_s_hz"].tolist()[:2] == [0, 12 * 10**9]
    assert later["end_ns"].tolist()[:2] == [2 * MS, 3 * MS]
    assert later["end_ns"].max() == early["end_ns"].max() == 9 * MS
    assert not start["random"].equals(early)

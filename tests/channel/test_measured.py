import bisect
import itertools
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim import load_run
from netsim.band import Message, SharedBand, Terms
from netsim.channel import Link, MeasuredRadio, NoFading
from netsim.channel.capacity import CapacityTable, Step
from netsim.channel.measured import csv_rates, mahimahi_rates, read_capacity
from netsim.core.engine import Engine
from netsim.cosim.cost import estimate
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.runs.run import read_table
from netsim.sharing import SHARING_RULES, ProcessorSharing
from netsim.trace import rows
from netsim.trace.tables import Rows
from netsim.verify import verify
from netsim.verify.clock import check_clock
from tests.support.places import DATA

MS = 10**6
S = 10**9
PACKET = 12_000
MHZ = 10**6
CELLULAR = sorted((DATA / "cellular").glob("*.up"))
real_files = pytest.mark.parametrize(
    "path",
    CELLULAR or [pytest.param(None, marks=pytest.mark.skip("no measured files here"))],
    ids=lambda path: "none" if path is None else path.name,
)


def table(text, tmp_path, form="mahimahi", band_hz=MHZ):
    path = tmp_path / "trace"
    path.write_text(text)
    return read_capacity(path, form, band_hz)


def bits(capacity, band_hz=MHZ):
    """Return a capacity in bits; it counts 1e-18 bit per Hz."""
    return Fraction(capacity * band_hz, 10**18)


# the table


steps = st.lists(
    st.tuples(st.integers(1, 50), st.integers(0, 7)), min_size=1, max_size=6
).filter(lambda rows: any(efficiency for _, efficiency in rows))


def lap(rows):
    ends = [0]
    for span, _ in rows:
        ends.append(ends[-1] + span)
    return CapacityTable([Step(*ends[n : n + 2], rows[n][1]) for n in range(len(rows))])


@given(rows=steps, now_ns=st.integers(0, 700))
def test_capacity_is_the_sum_over_ticks(rows, now_ns):
    by_tick = [efficiency for span, efficiency in rows for _ in range(span)]
    expected = sum(by_tick[tick % len(by_tick)] for tick in range(now_ns))
    assert lap(rows).at(now_ns) == expected


@given(rows=steps, capacity=st.integers(-3, 2000))
def test_the_inverse_is_the_first_tick_that_reaches_it(rows, capacity):
    capacities = lap(rows)
    tick = capacities.first_ns(capacity)
    assert capacities.at(tick) >= capacity
    assert tick == 0 or capacities.at(tick - 1) < capacity


def test_a_lap_by_hand():
    capacities = CapacityTable([Step(0, 10, 3), Step(10, 20, 0), Step(20, 25, 4)])
    assert (capacities.period_ns, capacities.capacity_per_period) == (25, 50)
    assert [capacities.at(t) for t in (0, 1, 10, 15, 20, 21, 25, 26)] == [
        *(0, 3, 30, 30, 30, 34, 50, 53)
    ]
    assert [capacities.first_ns(c) for c in (0, 1, 3, 4, 30, 31, 50, 51, 100)] == [
        *(0, 1, 1, 2, 10, 21, 25, 26, 50)
    ]
    assert capacities.mean_efficiency_bit_s_hz == 50 / 25 / 1e9


# mahimahi


def test_packets_are_spread_over_the_millisecond_that_ends_at_their_mark(tmp_path):
    capacities = table("2\n2\n5\n", tmp_path)
    counts = [bits(capacities.at(t * MS // 2)) / PACKET for t in range(13)]
    assert counts == [0, 0, 0, 1, 2, 2, 2, 2, 2, 2.5, 3, 3, 3]
    assert capacities.period_ns == 5 * MS
    # the third packet of the second lap is there at 10 ms, its first half a ms earlier
    assert capacities.first_ns(6 * PACKET * 10**12) == 10 * MS
    assert capacities.first_ns(11 * PACKET * 10**12 // 2) == 9 * MS + MS // 2


def test_a_mark_of_zero_counts_as_one(tmp_path):
    capacities = table("0\n1\n3\n", tmp_path)
    assert [bits(capacities.at(t * MS)) / PACKET for t in range(5)] == [0, 2, 2, 3, 5]


@pytest.mark.slow
@real_files
def test_bits_agree_with_a_count_of_packets_at_every_millisecond(path):
    marks_ms = [int(word) for word in path.read_text().split()]
    capacities = read_capacity(path, "mahimahi", MHZ)
    assert capacities.period_ns == marks_ms[-1] * MS
    num_packets = 0
    for now_ms in range(marks_ms[-1] + 1):
        while num_packets < len(marks_ms) and marks_ms[num_packets] <= now_ms:
            num_packets += 1
        assert capacities.at(now_ms * MS) == num_packets * PACKET * 10**12
    # and on a band on which a packet is no whole number of 1e-9 bit/s/Hz
    rounded = read_capacity(path, "mahimahi", 7 * MHZ)
    for now_ms in range(0, 3 * marks_ms[-1], 977):
        laps, rest = divmod(now_ms, marks_ms[-1])
        count = laps * len(marks_ms) + bisect.bisect_right(marks_ms, rest)
        assert abs(bits(rounded.at(now_ms * MS), 7 * MHZ) / PACKET - count) < 0.01


@pytest.mark.slow
@real_files
@pytest.mark.parametrize("size_bits", [1, PACKET, 2_400_000, 80_000_001])
def test_completion_is_within_the_millisecond_of_the_last_packet(path, size_bits):
    marks_ms = [int(word) for word in path.read_text().split()]
    capacities = read_capacity(path, "mahimahi", MHZ)
    for start_ms in (0, 12_345, 100_000, marks_ms[-1] - 1):
        packets = -(-size_bits // PACKET)
        # opportunities after the start, one by one, over as many laps as it takes
        index, laps, left = bisect.bisect_right(marks_ms, start_ms), 0, packets
        while True:
            if index == len(marks_ms):
                index, laps = 0, laps + 1
            left -= 1
            if not left:
                break
            index += 1
        last_ms = laps * marks_ms[-1] + marks_ms[index]
        need = capacities.at(start_ms * MS) + size_bits * 10**12
        assert (last_ms - 1) * MS < capacities.first_ns(need) <= last_ms * MS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must go beyond 0 ms"),
        ("0\n0\n", "must go beyond 0 ms"),
        ("3\n2\n", r"line 2: must not be before the 3 ms of the line above, got 2 ms"),
        ("1\n1.5\n", r"line 2: must be a whole number of milliseconds, got '1.5'"),
        ("0,1e6\n", "format: csv"),
        ("1\n\n2\n", "line 2: must be a whole number"),
        ("-1\n", "got '-1'"),
        ("9" * 20, "line 1: must be a whole number"),
    ],
)
def test_a_wrong_mahimahi_trace_is_refused_by_its_line(text, message):
    with pytest.raises(InputError, match=message):
        list(mahimahi_rates(text))


# rates over time


def test_rates_hold_until_the_next_time_and_start_over():
    text = "time_s,rate_bps\n100, 1e6\n100.5, 0\n101.5, 2500000.5\n"
    assert list(csv_rates(text)) == [
        (0, S // 2, 10**6),
        (S // 2, 3 * S // 2, 0),
        (3 * S // 2, 5 * S // 2, Fraction("2500000.5")),
    ]


def test_a_rate_becomes_the_efficiency_of_the_band(tmp_path):
    capacities = table("0,5e6\n1,1e6\n", tmp_path, form="csv", band_hz=2 * MHZ)
    assert [step.efficiency_nbit for step in capacities.steps] == [2.5 * S, S // 2]
    assert bits(capacities.at(3 * S), 2 * MHZ) == 11 * 10**6
    assert capacities.mean_efficiency_bit_s_hz == 1.5
    assert all(one.end_ns == two.start_ns for one, two in pairwise(capacities.steps))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n", "at least two rows of time and rate, got 1"),
        ("time,rate\n", "at least two rows of time and rate, got 0"),
        ("0,1\n1,2,3\n", "line 2: must have two columns"),
        ("0,1\n0,2\n", "line 2: must be at least 1 ns after the 0 s above, got 0 s"),
        ("0,1\n1,-2\n", "line 2: a rate must not be negative, got -2"),
        ("0,1\n1,fast\n", "line 2: must be a number, got 'fast'"),
        ("0,1\n1,nan\n", "line 2: must be a number, got 'nan'"),
        ("when,what\n0,1\n", "line 1: must be a number, got 'when'"),
        ("0,1\n1e12,2\n", "lasts longer than"),
    ],
)
def test_a_wrong_table_of_rates_is_refused_by_its_line(text, message):
    with pytest.raises(InputError, match=message):
        list(csv_rates(text))


def test_a_file_without_capacity_or_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="no capacity: every rate is zero"):
        table("0,0\n1,0\n", tmp_path, form="csv")
    with pytest.raises(InputError, match="trace' cannot be read"):
        read_capacity(tmp_path / "no" / "trace", "csv", MHZ)
    with pytest.raises(InputError, match=r"trace', line 1: must be a whole number"):
        table("x\n", tmp_path)


# a band that follows a table


def send(capacity, uploads, *, band_hz=MHZ, radio=None):
    """Return the ledger of uploads given as (start in ns, bits, terms or None)."""
    env, ledger = Engine(), Rows()
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=band_hz,
        radio=radio or OneRadio(),
        divider=ProcessorSharing(),
        ledger=ledger,
        transfer_ids=itertools.count(),
        capacity=capacity,
    )

    def client(client_id, start_ns, size_bits, terms):
        yield env.timeout(start_ns)
        link = Link(1.0, NoFading(), 0, "up", client_id)
        message = Message(0, size_bits, client_id, client_id)
        yield band.send(message, link, terms=terms).done

    for client_id, upload in enumerate(uploads):
        env.process(client(client_id, *upload))
    env.run()
    band.close()
    return ledger


class OneRadio:
    depends_on_share = False

    def efficiency_nbit(self, cn0_hz, share_uhz):
        return 1


def ends_ns(ledger):
    return {row.client_id: row.end_ns for row in ledger.transfers}


def audit(ledger, capacity):
    laps = [rows.Capacity(0, "up", *step) for step in capacity.steps]
    return list(check_clock(Rows(**{**vars(ledger), "capacities": laps})))


def test_two_uploads_share_the_packets_of_a_trace(tmp_path):
    capacity = table("2\n2\n5\n", tmp_path)
    # marks: 2 packets at 2 ms, 1 at 5 ms, 2 at 7 ms. Halves, until client 1 has its 1.5
    # packets at 5 ms; client 0 then lacks 1.25 of 2.75, at 2 per ms from 6 ms on
    ledger = send(capacity, [(0, 33_000, None), (0, 18_000, None)])
    assert ends_ns(ledger) == {1: 5 * MS, 0: 6 * MS + 625_000}
    assert len(ledger.segments) == 2  # nothing is written as packets come and go
    assert len(ledger.bands) == 2
    assert audit(ledger, capacity) == []


def test_a_pinned_upload_waits_where_nothing_is_sent(tmp_path):
    capacity = table("2\n2\n5\n", tmp_path)
    pin = Terms(0, 250_000 * 10**6)  # a quarter of the band
    ledger = send(capacity, [(MS, 3 * PACKET // 4, pin), (3 * MS, PACKET, None)])
    # client 0: a quarter of two packets at 2 ms and of one at 5 ms. Client 1: three
    # quarters of one at 5 ms, and its last quarter alone, at 2 per ms from 6 ms on
    assert ends_ns(ledger) == {0: 5 * MS, 1: 6 * MS + 125_000}
    assert audit(ledger, capacity) == []


def test_the_audit_finds_an_end_that_the_table_does_not_give(tmp_path):
    capacity = table("2\n2\n5\n", tmp_path)
    ledger = send(capacity, [(0, 33_000, None), (0, 18_000, None)])
    slower = CapacityTable([Step(0, MS, 24 * 10**9), Step(MS, 5 * MS, 3 * 10**9)])
    assert {finding.rule for finding in audit(ledger, slower)}
    laps = [rows.Capacity(0, "up", *step) for step in capacity.steps[1:]]
    found = check_clock(Rows(**{**vars(ledger), "capacities": laps}))
    assert next(found).rule == "rows must tile one pass of the trace from time zero on"


uploads = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=60)
@given(rows_of_lap=steps, uploads=uploads)
def test_sharing_a_table_is_sharing_tick_by_tick(rows_of_lap, uploads):
    """Against a loop over ticks; work is in units of 1e-24 bit."""
    capacity = lap([(span, efficiency * 10**9) for span, efficiency in rows_of_lap])
    scaled = [(start, units * 10**3, None) for start, units in uploads]
    ledger = send(capacity, scaled, band_hz=10**12)
    left = [size_bits * 10**24 for _, size_bits, _ in scaled]
    ended, now_ns = {}, 0
    while len(ended) < len(left):
        live = [
            n for n, one in enumerate(scaled) if one[0] <= now_ns and n not in ended
        ]
        passed = capacity.at(now_ns + 1) - capacity.at(now_ns)
        share_uhz = 10**18 // len(live) if live else 0
        now_ns += 1
        for n in live:
            left[n] -= share_uhz * passed
            if left[n] <= 0:
                ended[n] = now_ns
    assert ends_ns(ledger) == ended
    assert audit(ledger, capacity) == []


# a scenario


def measured(path, *overrides):
    radio = f"{{kind: measured, path: {path}, reference_band: 5 MHz}}"
    return read_scenario(
        find_scenario("network-only"),
        (f"cell.uplink.radio={radio}", "stop.rounds=2", *overrides),
    )


@pytest.mark.parametrize(
    "sharing", sorted(SHARING_RULES.keys() - {"proportional", "weighted"})
)
def test_a_run_over_a_measured_uplink_passes_its_audit(sharing, tmp_path):
    marks = "".join(f"{7 * n}\n" * (n % 3) for n in range(1, 60))
    (tmp_path / "marks.up").write_text(marks)
    scenario = measured(tmp_path / "marks.up", f"cell.uplink.sharing={sharing}")
    run_scenario(scenario, tmp_path / "run")
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    capacity = scenario.cell.uplink.radio.capacity()
    assert len(run.capacities) == len(capacity.steps)
    ups = run.transfers[run.transfers.direction == "up"]
    assert (ups.status == "done").all()
    # no more bits in any round's uploads than the trace had until their end
    for _, own in ups.groupby("round_id"):
        start_ns, end_ns = int(own.start_ns.min()), int(own.end_ns.max())
        span = capacity.at(end_ns) - capacity.at(start_ns)
        assert int(own.bits.sum()) <= bits(span, 5 * MHZ) + len(own)
    again = run_scenario(scenario, tmp_path / "again")
    assert again.digest == run.manifest.digest


@pytest.mark.parametrize(
    "override",
    [
        "server={kind: deadline, deadline: 9 s, sampling: full, announce_time: 1 ms, "
        "merge_time: 0 s}",
        "server={kind: buffered, buffer_size: 3, concurrency: 8, merge_time: 1 ms}",
        "population.radio_band=1 MHz",
        "cell.downlink.radio={kind: measured, path: marks.up, reference_band: 10 MHz}",
    ],
    ids=lambda override: override[:24],
)
def test_whatever_else_a_measured_run_does_passes_its_audit(override, tmp_path):
    (tmp_path / "marks.up").write_text("3\n3\n4\n9\n20\n")
    override = override.replace("marks.up", str(tmp_path / "marks.up"))
    unicast = (
        "{band: 9 MHz, radio: {kind: fixed-power}, mode: unicast, "
        "sharing: processor-sharing}"
    )
    more = [f"cell.downlink={unicast}"] * ("buffered" in override)
    run_scenario(measured(tmp_path / "marks.up", override, *more), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    transfers = read_table(tmp_path / "run", "transfers").to_pylist()
    assert ("late" in {row["status"] for row in transfers}) == ("deadline" in override)


@pytest.mark.slow
@real_files
def test_a_real_uplink_carries_what_was_measured(path, tmp_path):
    one = ("population.num_clients=1", "server.sampling=full")
    run_scenario(measured(path, *one), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    marks_ms = [int(word) for word in path.read_text().split()]
    lap_ms, packets_at = marks_ms[-1], Counter(marks_ms)

    def count(now_ns):
        """Return the packets by the last millisecond mark, and those of the next."""
        laps, rest_ms = divmod(now_ns // MS, lap_ms)
        before = laps * len(marks_ms) + bisect.bisect_right(marks_ms, rest_ms)
        return before, packets_at[rest_ms + 1]

    transfers = read_table(tmp_path / "run", "transfers").to_pylist()
    ups = [row for row in transfers if row["direction"] == "up"]
    assert ups
    for row in ups:
        (start, first), (end, last) = count(row["start_ns"]), count(row["end_ns"])
        assert end - start - first <= row["bits"] / PACKET + 1
        assert row["bits"] / PACKET <= end + last - start


def test_distance_and_fading_play_no_part_on_a_measured_uplink(tmp_path):
    (tmp_path / "rates.csv").write_text("0,2e6\n0.5,5e6\n")
    radio = f"{{kind: measured, path: {tmp_path / 'rates.csv'}, format: csv}}"
    with pytest.raises(InputError, match="reference_band"):
        read_scenario(find_scenario("network-only"), (f"cell.uplink.radio={radio}",))
    radio = radio[:-1] + ", reference_band: 5 MHz}"
    for fading in ("rayleigh-fast", "{kind: rayleigh, coherence_time: 50 ms}"):
        scenario = read_scenario(
            find_scenario("network-only"),
            (f"cell.uplink.radio={radio}", f"cell.fading={fading}", "stop.rounds=1"),
        )
        run_scenario(scenario, tmp_path / fading[:13])
        assert verify(tmp_path / fading[:13]) == []
        segments = read_table(tmp_path / fading[:13], "segments").to_pylist()
        seen = {s["spectral_efficiency_nbit_s_hz"] for s in segments}
        assert 1 in seen


def test_a_measured_radio_is_read_when_the_scenario_is(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.up' cannot be read"):
        measured("nowhere.up")
    (tmp_path / "bad.up").write_text("5\n3\n")
    with pytest.raises(InputError, match=r"bad\.up', line 2: must not be before the 5"):
        measured(tmp_path / "bad.up")


def test_a_check_says_how_long_a_trace_is_its_mean_and_its_gaps(tmp_path):
    # 41 packets of 12 kbit in 6 s are 82 kbit/s; from 2 to 5 s there are none
    marks = [*range(100, 2001, 100), *range(5001, 6000, 50), 6000]
    (tmp_path / "trace").write_text("\n".join(map(str, marks)))
    radio = f"{{kind: measured, path: {tmp_path / 'trace'}, reference_band: 5 MHz}}"
    settings = f"cell.uplink.radio={radio}", "cell.uplink.band=5 MHz"
    lines = estimate(read_scenario(find_scenario("network-only"), settings), None)
    assert lines[0] == (
        "cell.uplink follows a trace of 6.00 s at 82 kbit/s in the mean, the longest "
        "gap 3.00 s, 3.00 s in gaps of 1 s or more; it repeats"
    )


def test_plans_take_the_mean_of_a_measured_radio(tmp_path):
    (tmp_path / "rates.csv").write_text("0,2e6\n1,4e6\n")
    radio = MeasuredRadio(
        path=str(tmp_path / "rates.csv"), format="csv", reference_band_hz=1e6
    )
    assert radio.rate_bps(1.0, 1e6) == 3e6
    assert radio.share_hz_for_rate(1.0, 1.5e6) == 5e5
    assert radio.max_efficiency_bit_s_hz == 4

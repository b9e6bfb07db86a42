"""The shared band against an oracle that steps every transfer in exact fractions."""

import itertools
from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.band import Message, Pace, SharedBand, Terms
from netsim.core.engine import Engine
from netsim.errors import InputError
from netsim.trace.tables import Rows


@dataclass(frozen=True)
class Steps:
    """A channel given as a list of (tick, value): the value holds from that tick."""

    marks: tuple

    def at(self, now_ns):
        value = [v for t, v in self.marks if t <= now_ns][-1]
        return value, min((t for t, _ in self.marks if t > now_ns), default=None)


@dataclass(frozen=True)
class ConstantRadio:
    depends_on_share: bool = False

    def efficiency_nbit(self, cn0_hz, share_uhz):
        return int(cn0_hz)


@dataclass(frozen=True)
class SaturatingRadio:
    """Efficiency falls as the share grows, as under fixed transmit power."""

    depends_on_share: bool = True

    def efficiency_nbit(self, cn0_hz, share_uhz):
        return int(cn0_hz) * 1000 // (1000 + share_uhz // 10**6)


class Weighted:
    """Elastic by the weight in the message's bits; a rule for tests."""

    def __init__(self, weights):
        self.weights = weights

    def divide(self, started, live, band):
        return [(t, Terms(self.weights[t.message.client_id])) for t in started]


class FirstCome:
    def divide(self, started, live, band):
        return [
            (transfer, Terms(weight=int(place == 0)))
            for place, transfer in enumerate(live.values())
        ]


@dataclass(frozen=True)
class Plan:
    """One transfer: when it starts, how much, and on which terms."""

    start_ns: int
    bits: int
    weight: int
    pinned_uhz: int | None
    ceiling_uhz: int | None
    marks: tuple
    pace: Pace | None = None


def simulate(plans, band_hz, radio, divider=None):
    env = Engine()
    ledger = Rows()
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=band_hz,
        radio=radio,
        divider=divider or Weighted([p.weight for p in plans]),
        ledger=ledger,
        transfer_ids=itertools.count(),
    )
    log = []

    def client(client_id, plan):
        yield env.timeout(plan.start_ns)
        pin = plan.pinned_uhz
        transfer = band.send(
            Message(0, plan.bits, client_id, client_id),
            Steps(plan.marks),
            terms=None if pin is None else Terms(0, pin),
            ceiling_uhz=plan.ceiling_uhz,
            pace=plan.pace,
        )
        yield transfer.done
        log.append((client_id, env.now))

    for client_id, plan in enumerate(plans):
        env.process(client(client_id, plan))
    env.run()
    band.close()
    return log, ledger


def shares_by_definition(live, band_uhz):
    """Pin, lowest limit first, whose elastic share would exceed its ceiling."""
    shares = {
        n: min(p.pinned_uhz, p.ceiling_uhz or p.pinned_uhz)
        for n, p in live.items()
        if p.pinned_uhz is not None
    }
    elastic = {n: p for n, p in live.items() if p.pinned_uhz is None}
    while elastic:
        unit = (band_uhz - sum(shares.values())) // sum(
            p.weight for p in elastic.values()
        )
        over = [
            (p.ceiling_uhz // p.weight, n)
            for n, p in elastic.items()
            if p.ceiling_uhz is not None and p.weight * unit > p.ceiling_uhz
        ]
        if not over:
            return shares | {n: p.weight * unit for n, p in elastic.items()}
        n = min(over)[1]
        shares[n] = elastic.pop(n).ceiling_uhz
    return shares


def under_window(plan, now_ns):
    """Return the plan with what its window sends per round trip as its ceiling."""
    if plan.pace is None:
        return plan
    first_bits, round_trip_ns, most_bits = plan.pace
    window_bits = first_bits * 2 ** ((now_ns - plan.start_ns) // round_trip_ns)
    window_bits = min(window_bits, most_bits or window_bits)
    efficiency = Steps(plan.marks).at(now_ns)[0]
    filled_uhz = window_bits * 10**24 // (round_trip_ns * int(efficiency))
    ceilings = [filled_uhz, plan.ceiling_uhz or filled_uhz]
    return replace(plan, ceiling_uhz=min(ceilings))


def oracle(plans, band_hz, radio):
    """Step from event to event, moving every transfer, in fractions of a bit."""
    left = {n: Fraction(p.bits) for n, p in enumerate(plans)}
    marks = {t for p in plans for t, _ in p.marks} | {p.start_ns for p in plans}
    marks |= {
        p.start_ns + k * p.pace.round_trip_ns
        for p in plans
        if p.pace
        for k in range(40)
    }
    now, log = 0, []
    while left:
        live = {
            n: under_window(p, now)
            for n, p in enumerate(plans)
            if n in left and p.start_ns <= now
        }
        shares = shares_by_definition(live, band_hz * 10**6)
        rates = {}
        for n, share in shares.items():
            value, _ = Steps(plans[n].marks).at(now)
            efficiency = radio.efficiency_nbit(value, max(share, 1))
            rates[n] = Fraction(share * efficiency, 10**24)  # bits per tick
        ends = {n: now + -(-left[n] // rates[n]) for n in rates if rates[n]}
        later = [t for t in marks if t > now]
        after = min([*ends.values(), *later])
        for n, rate in rates.items():
            left[n] -= rate * (after - now)
        now = after
        for n in sorted(n for n in live if left[n] <= 0):
            log.append((n, now))
            del left[n]
    return log


def plan_lists():
    efficiency = st.integers(10**8, 8 * 10**9)
    marks = st.lists(
        st.tuples(st.integers(1, 4 * 10**9), efficiency),
        max_size=3,
        unique_by=lambda mark: mark[0],
    )
    plan = st.builds(
        lambda start, bits, weight, pin, ceiling, first, rest: Plan(
            start, bits, weight, pin, ceiling, ((0, first), *sorted(rest))
        ),
        st.integers(0, 10**9) | st.sampled_from([0, 10**8, 5 * 10**8]),
        st.integers(1, 3 * 10**6),
        st.integers(1, 5),
        st.none() | st.integers(10**9, 10**11),
        st.none() | st.integers(10**10, 10**12),
        efficiency,
        marks,
    )
    return st.lists(plan, min_size=1, max_size=9)


@pytest.mark.parametrize("radio", [ConstantRadio(), SaturatingRadio()])
@settings(max_examples=150, deadline=None)
@given(plans=plan_lists(), band_hz=st.integers(1_000_000, 5_000_000))
def test_every_end_is_at_the_exact_tick(radio, plans, band_hz):
    log, _ = simulate(plans, band_hz, radio)
    assert sorted(log) == sorted(oracle(plans, band_hz, radio))


PACES = st.none() | st.builds(
    Pace,
    st.integers(10**4, 10**6),
    st.integers(10**7, 3 * 10**8),
    st.none() | st.integers(10**6, 4 * 10**6),
)


@settings(max_examples=150, deadline=None)
@given(
    plans=plan_lists(),
    paces=st.lists(PACES, min_size=9, max_size=9),
    band_hz=st.integers(1_000_000, 5_000_000),
)
def test_every_end_under_a_window_is_at_the_exact_tick(plans, paces, band_hz):
    plans = [replace(p, pace=pace) for p, pace in zip(plans, paces, strict=False)]
    log, _ = simulate(plans, band_hz, ConstantRadio())
    assert sorted(log) == sorted(oracle(plans, band_hz, ConstantRadio()))


@settings(max_examples=60, deadline=None)
@given(plans=plan_lists(), band_hz=st.integers(1_000_000, 5_000_000))
def test_rows_tile_each_life_and_never_exceed_the_band(plans, band_hz):
    _, ledger = simulate(plans, band_hz, ConstantRadio())
    for row in ledger.bands:
        assert 0 < row.allocated_uhz <= band_hz * 10**6
        assert row.start_ns < row.end_ns
    for transfer in ledger.transfers:
        own = [s for s in ledger.segments if s.transfer_id == transfer.transfer_id]
        assert own[0].start_ns == transfer.start_ns
        assert own[-1].end_ns == transfer.end_ns
        assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(own))


def flat(start_ns, bits, efficiency=10**9, **terms):
    defaults = {"weight": 1, "pinned_uhz": None, "ceiling_uhz": None}
    return Plan(start_ns, bits, marks=((0, efficiency),), **(defaults | terms))


def test_two_equal_transfers_take_twice_as_long():
    log, _ = simulate([flat(0, 10**6), flat(0, 10**6)], 10**6, ConstantRadio())
    assert log == [(0, 2 * 10**9), (1, 2 * 10**9)]


def test_a_late_start_slows_the_first_from_its_tick_on():
    plans = [flat(0, 10**6), flat(5 * 10**8, 10**6)]
    log, _ = simulate(plans, 10**6, ConstantRadio())
    assert log == [(0, 15 * 10**8), (1, 2 * 10**9)]


def test_a_ceiling_leaves_its_surplus_to_the_others():
    plans = [flat(0, 10**6, ceiling_uhz=25 * 10**10), flat(0, 10**6)]
    log, ledger = simulate(plans, 10**6, ConstantRadio())
    assert log == [(1, 1_333_333_334), (0, 4 * 10**9)]
    assert [s.pinned_uhz for s in ledger.segments] == [None, 25 * 10**10]


def test_a_ceiling_no_longer_binds_when_many_share():
    limit = 4 * 10**11
    plans = [flat(0, 10**6, ceiling_uhz=limit), flat(10**9, 10**6), flat(10**9, 5)]
    log, ledger = simulate(plans, 10**6, ConstantRadio())
    own = [s.pinned_uhz for s in ledger.segments if s.transfer_id == 0]
    assert own == [limit, None, limit]
    assert log == [(2, 1_000_015_001), (0, 2_500_002_501), (1, 2_600_005_001)]


def test_terms_given_twice_in_one_tick_count_once():
    plans = [flat(0, 10**6, pinned_uhz=10**11), flat(0, 10**6)]
    log, ledger = simulate(plans, 10**6, ConstantRadio(), FirstCome())
    assert log == [(0, 10**9), (1, 2 * 10**9)]
    assert {band.allocated_uhz for band in ledger.bands} == {10**12}


def test_first_come_serves_one_at_a_time():
    plans = [flat(0, 10**6), flat(10, 10**6), flat(5, 10**6)]
    log, _ = simulate(plans, 10**6, ConstantRadio(), FirstCome())
    assert log == [(0, 10**9), (2, 2 * 10**9), (1, 3 * 10**9)]


def test_a_cut_transfer_frees_its_share_at_that_tick():
    env, ledger = Engine(), Rows()
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=10**6,
        radio=ConstantRadio(),
        divider=Weighted([1, 1]),
        ledger=ledger,
        transfer_ids=itertools.count(),
    )
    channel = Steps(((0, 10**9),))
    kept = band.send(Message(0, 10**6, 0, 0), channel)
    cut = band.send(Message(0, 10**6, 1, 1), channel)
    env.run(until=10**9)
    band.cut(cut, "late")
    env.run()
    assert kept.done.value == "done"
    assert [(t.client_id, t.end_ns, t.status) for t in ledger.transfers] == [
        (1, 10**9, "late"),
        (0, 15 * 10**8, "done"),
    ]


def test_no_share_ever_for_waiting_work_is_refused():
    with pytest.raises(InputError, match="client 1 never ends"):
        simulate([flat(0, 9), flat(0, 9, efficiency=0)], 10**6, ConstantRadio())
    with pytest.raises(InputError, match="client 0 never ends"):
        simulate([flat(0, 9, weight=2 * 10**6)], 1, ConstantRadio())

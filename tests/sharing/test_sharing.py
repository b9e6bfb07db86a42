"""Sharing rules: hand-counted ends, the band kept, and the optimum that is reached.

The hand-counted round has a band of 12 MHz and three clients: A and B start at 0 s with
24 and 12 Mbit at 1 bit/s/Hz, C starts at 1 s with 24 Mbit at 2 bit/s/Hz.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.band import Message, SharedBand
from netsim.channel import FixedPowerRadio, PerHertzRadio
from netsim.core.clock import to_ns
from netsim.core.engine import Engine
from netsim.sharing import (
    SHARING_RULES,
    EqualFinish,
    EqualFixed,
    EqualRate,
    Expected,
    FirstCome,
    MaxMin,
    ProcessorSharing,
    ProportionalFair,
    ShortestFirst,
    ShortestFirstTdma,
    Weighted,
    WholeBlocks,
    WorkConserving,
)
from netsim.trace.tables import Rows
from netsim.verify.clock import check_clock
from tests.support.shared_rounds import HZ, LinearRadio, Still, play_round
from tests.support.timelines import MBIT, S, patient, play_out, scenario

RULES = [rule() for rule in SHARING_RULES.values()]
LIVE = ("max-min-live", "proportional-fair-live", "shortest-first")
BUSY = ("processor-sharing", "weighted", "work-conserving", *LIVE)  # ceilings or not
TDMA = ("tdma-first-come", "tdma-shortest-first")
RADIOS = [PerHertzRadio(reference_band_hz=1e6), FixedPowerRadio()]
MHZ = 10**6

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
each_radio = pytest.mark.parametrize("radio", RADIOS, ids=lambda radio: radio.kind)


def optimum_s(expected, band_hz, radio):
    """``T*`` of METHOD.md 5 by its definition."""
    needs = [one.bits / radio.rate_bps(one.cn0_hz, 1.0) for one in expected]
    return max(
        first.compute_s
        + sum(
            need
            for one, need in zip(expected, needs, strict=True)
            if one.compute_s >= first.compute_s
        )
        / band_hz
        for first in expected
    )


ROUND = [
    Expected(0, 0.0, 24 * MBIT, 1.0),
    Expected(1, 0.0, 12 * MBIT, 1.0),
    Expected(2, 1.0, 24 * MBIT, 2.0),
]
TOGETHER_S = (5 + 13**0.5) / 2  # 24/T + 12/T + 12/(T - 1) = 12


@pytest.mark.parametrize(
    ("rule", "ends_s"),
    [
        ("equal-fixed", (6, 3, 4)),  # 4 MHz each
        ("proportional", (5, 5, 3.5)),  # 4.8, 2.4 and 4.8 MHz
        ("equal-rate", (5, 2.5, 6)),  # 4.8, 4.8 and 2.4 MHz: 4.8 Mbit/s each
        ("max-min", (5, 2.5, 6)),
        ("proportional-fair", (6, 3, 4)),
        ("equal-finish", (TOGETHER_S, TOGETHER_S, TOGETHER_S)),
        ("processor-sharing", (4, 2.5, 3.5)),  # 6+6 MHz, 4+4+4, 6+6, 12
        ("weighted", (4, 4, 3.5)),  # 8+4 MHz, 4.8+2.4+4.8, 8+4
        # rates 6+6 Mbit/s, 4.8 each, 8+8, 24
        ("max-min-live", (3.75, 2.25, 4)),
        ("proportional-fair-live", (4, 2.5, 3.5)),
        ("shortest-first", (4, 1, 2)),  # B, then C who needs 1 s of the band and A 2
        # C waits 0.1 s for 150 kB; 4 MHz each until B ends, 6+6, 12
        ("first-come", (4, 2.45, 3.55)),
        # 66 blocks of 180 kHz are 11.88 MHz: A and B have 33 each, at 1 s all 22,
        # from 2.53 s A and C 33
        ("whole-blocks", (4.040404, 2.530303, 3.530303)),
        ("tdma-first-come", (2, 3, 4)),
        ("tdma-shortest-first", (4, 1, 2)),  # B, then C whose channel is stronger
        ("work-conserving", (1 + 2 / 3 * TOGETHER_S, 1 + 2 / 3 * TOGETHER_S, 4)),
    ],
)
def test_a_round_counted_by_hand(rule, ends_s):
    rule = (
        Weighted(unit_bits=12 * MBIT) if rule == "weighted" else SHARING_RULES[rule]()
    )
    ends, _ = play_round(rule, ROUND, 12 * MHZ, LinearRadio())
    assert [end / S for end in ends] == pytest.approx(ends_s, abs=1e-5)


def test_every_rule_is_counted_by_hand():
    mark = test_a_round_counted_by_hand.pytestmark[0]
    assert {case[0] for case in mark.args[1]} == set(SHARING_RULES)


def test_a_shorter_newcomer_takes_the_band_and_a_longer_one_waits():
    late = [
        Expected(0, 0.0, 24 * MBIT, 1.0),
        Expected(1, 1.0, 10 * MBIT, 1.0),  # A has 12 left and waits
        Expected(2, 1.5, 6 * MBIT, 1.0),  # B has 4 left and goes on
    ]
    ends, _ = play_round(ShortestFirstTdma(), late, 12 * MHZ, LinearRadio())
    assert [end / S for end in ends] == pytest.approx([10 / 3, 11 / 6, 7 / 3], abs=1e-8)


def test_a_held_back_head_is_compared_by_what_its_ceiling_let_through():
    late = [Expected(0, 0.0, 24 * MBIT, 1.0, 6e6), Expected(1, 2.0, 11 * MBIT, 1.0)]
    ends, _ = play_round(ShortestFirstTdma(), late, 12 * MHZ, LinearRadio())
    assert [end / S for end in ends] == pytest.approx([4 + 11 / 12, 2 + 11 / 12])


def test_shortest_first_leaves_what_a_ceiling_does_not_use_to_the_next():
    """B would be done in 1 s alone, at 6 MHz; A has the other 6 meanwhile, C nothing
    until C is alone: A has 18 of 24 Mbit left at 1 s."""
    held = [
        Expected(0, 0.0, 24 * MBIT, 1.0),
        Expected(1, 0.0, 6 * MBIT, 1.0, 6e6),
        Expected(2, 0.0, 36 * MBIT, 1.0),
    ]
    ends, _ = play_round(ShortestFirst(), held, 12 * MHZ, LinearRadio())
    assert [end / S for end in ends] == pytest.approx([2.5, 1, 5.5], abs=1e-8)


def test_shortest_first_goes_by_time_and_the_tdma_by_bits():
    clients = [Expected(0, 0.0, 24 * MBIT, 4.0), Expected(1, 0.0, 12 * MBIT, 1.0)]
    by_need, _ = play_round(ShortestFirst(), clients, 12 * MHZ, LinearRadio())
    by_bits, _ = play_round(ShortestFirstTdma(), clients, 12 * MHZ, LinearRadio())
    assert [end / S for end in by_need] == pytest.approx([0.5, 1.5], abs=1e-8)
    assert [end / S for end in by_bits] == pytest.approx([1.5, 1.0], abs=1e-8)


QUEUE = [  # on 12 MHz at 1 bit/s/Hz
    Expected(0, 0.0, 36 * MBIT, 1.0),
    Expected(1, 1.0, 12 * MBIT, 1.0),
    Expected(2, 1.5, 12 * MBIT, 1.0),
]


@pytest.mark.parametrize(
    ("queue_bits", "window_bits", "ends_s"),
    [
        # A has 24 Mbit left when B starts, and sends 6 of them before B has a share;
        # C waits from 1.5 to 2 s, with 15, 9 and 12 Mbit left; 4 MHz each, 6+6, 12
        (6 * MBIT, MBIT, (5, 4.25, 4.75)),
        (1, MBIT, (5, 3.75, 4.25)),  # 12 MHz, 6+6, 4+4+4, 6+6, 12
        # A has queued 3 + 12 Mbit when B starts, who waits until 2.25 s; for C it is
        # all 18 that A has left and 3 of B: until 3.25 s, with 3, 6 and 12 left
        (100 * MBIT, 3 * MBIT, (4, 4.5, 5)),
        (100 * MBIT, 100 * MBIT, (3, 4, 5)),  # one after the other
    ],
)
def test_a_newcomer_waits_for_what_is_queued_before_it(queue_bits, window_bits, ends_s):
    rule = FirstCome(queue_bits=queue_bits, initial_window_bits=window_bits)
    ends, _ = play_round(rule, QUEUE, 12 * MHZ, LinearRadio())
    assert [end / S for end in ends] == pytest.approx(ends_s, abs=1e-6)


def test_those_that_wait_go_on_when_all_before_them_are_cut_off():
    """B waits for the 100 Mbit of A, who is cut off at 2 s as C starts: B sends from
    then on, and C when its 1 Mbit have left."""
    env, ends = Engine(), {}
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=MHZ,
        radio=LinearRadio(),
        divider=FirstCome(queue_bits=100 * MBIT, initial_window_bits=100 * MBIT),
        ledger=Rows(),
        transfer_ids=itertools.count(),
    )

    def client(client_id, start_s, bits):
        yield env.timeout(start_s * S)
        sent = band.send(Message(1, bits, client_id, client_id), Still(1.0))
        if client_id == 0:
            yield env.timeout(2 * S)
            band.cut(sent, "left")
        else:
            yield sent.done
            ends[client_id] = env.now / S

    for one in ((0, 0, 100 * MBIT), (1, 1, MBIT), (2, 2, MBIT)):
        env.process(client(*one))
    env.run()
    assert ends == pytest.approx({1: 3.0, 2: 4.0}, abs=1e-6)


@pytest.mark.parametrize(
    ("num_live", "num_blocks"),
    [(1, 50), (3, 16), (7, 7), (13, 3), (16, 3), (20, 48 / 20), (40, 48 / 40)],
)
def test_blocks_are_whole_at_least_three_and_else_taken_in_turn(num_live, num_blocks):
    """Of 50 blocks 16 phones have three each, and 2 blocks are left over."""
    clients = [Expected(n, 0.0, MBIT, 1.0) for n in range(num_live)]
    ends, _ = play_round(WholeBlocks(), clients, 9 * MHZ, LinearRadio())
    alone_s = 1e6 / (num_blocks * 180e3)
    assert [end / S for end in ends] == pytest.approx([alone_s] * num_live, rel=1e-6)


def test_a_window_leaves_its_blocks_to_the_others():
    """The first uses 1 of 9 MHz; 44 blocks are left for two."""
    clients = [Expected(n, 0.0, MBIT, 1.0, 1e6 if n == 0 else 9e6) for n in range(3)]
    ends, _ = play_round(WholeBlocks(), clients, 9 * MHZ, LinearRadio())
    own_s = 1e6 / (22 * 180e3)
    assert [end / S for end in ends] == pytest.approx([1.0, own_s, own_s], rel=1e-6)


def test_a_window_takes_nothing_from_those_that_take_turns():
    """Of 7 blocks two phones at a time have three: 2 on average. A window of 1.9
    leaves the others 2 at least."""
    clients = [Expected(n, 0.0, MBIT, 1.0, (1.9, 9)[n > 0] * 1e6) for n in range(3)]
    rule = WholeBlocks(block_hz=1e6)
    ends, _ = play_round(rule, clients, 7 * MHZ, LinearRadio())
    assert [end / S for end in ends[1:]] == pytest.approx([0.5, 0.5], rel=1e-6)


def rounds(*, has_ceilings=False):
    one = st.tuples(
        st.floats(0, 3) | st.sampled_from([0.0, 1.0]),
        st.integers(1_000, 3_000_000),
        st.floats(1e5, 1e8),
        st.floats(1e4, 2e6) if has_ceilings else st.just(math.inf),
    )
    return st.lists(one, min_size=1, max_size=8).map(
        lambda clients: [Expected(n, *client) for n, client in enumerate(clients)]
    )


def max_min_by_bisection(live, band_hz, radio):
    """Rates that are equal but at ceilings: bisect for the rate, share by share."""

    def shares(rate_bps):
        return [
            min(one.ceiling_hz, radio.share_hz_for_rate(one.cn0_hz, rate_bps))
            for one in live
        ]

    if sum(min(one.ceiling_hz, band_hz) for one in live) <= band_hz:
        return [min(one.ceiling_hz, band_hz) for one in live]
    low, high = 0.0, 1e12
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(shares(middle)) > band_hz else (middle, high)
    return shares(low)


def fair_by_price(live, band_hz, radio):
    """``d log(rate) / df = price`` with the derivative of Shannon's formula."""

    def worth(one, share_hz):
        if not radio.depends_on_share:
            return 1 / share_hz
        snr = one.cn0_hz / share_hz
        if math.log2(1 + snr) >= radio.max_efficiency_bit_s_hz:
            return 1 / share_hz
        return (1 - snr / ((1 + snr) * math.log1p(snr))) / share_hz

    def widest(one, price):
        low, high = 0.0, min(one.ceiling_hz, band_hz)
        if worth(one, high) >= price:
            return high
        for _ in range(100):
            middle = (low + high) / 2
            if worth(one, middle) >= price:
                low = middle
            else:
                high = middle
        return low

    low, high = 0.0, 1.0
    for _ in range(200):
        price = (low + high) / 2
        if sum(widest(one, price) for one in live) > band_hz:
            low = price
        else:
            high = price
    return [widest(one, high) for one in live]


def shortest_by_sorting(live, band_hz, radio, left_bits):
    def alone_s(one):
        rate_bps = radio.rate_bps(one.cn0_hz, min(one.ceiling_hz, band_hz))
        return left_bits[one.client_id] / rate_bps

    shares, free_hz = {}, band_hz
    for one in sorted(live, key=lambda one: (alone_s(one), one.client_id)):
        shares[one.client_id] = min(one.ceiling_hz, free_hz)
        free_hz -= shares[one.client_id]
    return [shares[one.client_id] for one in live]


def step_by_step(kind, expected, band_hz, radio):
    """Move everybody from event to event in plain floats; return the ends in s."""
    left = {one.client_id: float(one.bits) for one in expected}
    now_s, ends = 0.0, {}
    while left:
        live = [
            one for one in expected if one.client_id in left and one.compute_s <= now_s
        ]
        if kind == "shortest-first":
            shares = shortest_by_sorting(live, band_hz, radio, left)
        else:
            rule = {"max-min-live": max_min_by_bisection}.get(kind, fair_by_price)
            shares = rule(live, band_hz, radio) if live else []
        rates = {
            one.client_id: radio.rate_bps(one.cn0_hz, share) if share else 0.0
            for one, share in zip(live, shares, strict=True)
        }
        events = [now_s + left[n] / rate for n, rate in rates.items() if rate]
        events += [one.compute_s for one in expected if one.compute_s > now_s]
        after_s = min(events)
        for n, rate in rates.items():
            left[n] -= rate * (after_s - now_s)
            if left[n] <= 1e-6:
                del left[n]
                ends[n] = after_s
        now_s = after_s
    return [ends[one.client_id] for one in expected]


@pytest.mark.parametrize("kind", ["max-min-live", "proportional-fair-live"])
@each_radio
@settings(max_examples=30, deadline=None)
@given(
    expected=rounds() | rounds(has_ceilings=True),
    band_hz=st.integers(1_000_000, 5_000_000),
)
def test_fair_shares_end_as_in_a_plain_step_by_step_account(
    kind, radio, expected, band_hz
):
    """To the rounding of weights."""
    ends, _ = play_round(SHARING_RULES[kind](), expected, band_hz, radio)
    plain_s = step_by_step(kind, expected, band_hz, radio)
    assert [end / S for end in ends] == pytest.approx(plain_s, rel=2e-4, abs=1e-5)


@each_radio
@pytest.mark.parametrize("seed", range(30))
def test_shortest_first_ends_as_in_a_plain_step_by_step_account(radio, seed):
    """Drawn without ties, which rounding would break."""
    rng = np.random.default_rng(seed)
    ceilings = 10 ** rng.uniform(4.5, 6.5, 8) if seed % 2 else np.full(8, math.inf)
    expected = [
        Expected(
            n,
            float(rng.exponential(1.0)),
            int(rng.integers(10**5, 10**7)),
            float(10 ** rng.uniform(5, 8)),
            float(ceilings[n]),
        )
        for n in range(8)
    ]
    ends, _ = play_round(ShortestFirst(), expected, 3 * MHZ, radio)
    plain_s = step_by_step("shortest-first", expected, 3 * MHZ, radio)
    assert [end / S for end in ends] == pytest.approx(plain_s, rel=1e-6)


def test_rules_that_never_idle_differ_in_the_whole_under_fixed_power():
    """A strong and a weak client: alone on the band each wastes what the other could
    use, so one at a time is slowest and the fairest product of rates is quicker."""
    radio = FixedPowerRadio()
    clients = [Expected(0, 0.0, 2 * MBIT, 1e7), Expected(1, 0.0, 2 * MBIT, 1e6)]
    took_s = {}
    for kind in (*LIVE, "processor-sharing", "tdma-first-come"):
        ends, _ = play_round(SHARING_RULES[kind](), clients, 5 * MHZ, radio)
        took_s[kind] = max(ends) / S
    alone_s = [2e6 / radio.rate_bps(one.cn0_hz, 5e6) for one in clients]
    assert took_s["tdma-first-come"] == pytest.approx(sum(alone_s), rel=1e-6)
    assert took_s["shortest-first"] == pytest.approx(sum(alone_s), rel=1e-6)
    assert took_s["max-min-live"] < took_s["processor-sharing"] * 0.99
    assert took_s["processor-sharing"] < took_s["tdma-first-come"] * 0.9
    assert took_s["proportional-fair-live"] > took_s["max-min-live"] * 1.01


class Fades:
    """A channel that is in outage for a second."""

    def at(self, now_ns):
        if now_ns < S:
            return 4.0, S
        return (0.0, 2 * S) if now_ns < 2 * S else (4.0, None)


@pytest.mark.parametrize("kind", LIVE)
def test_a_channel_in_outage_leaves_the_band_to_the_others(kind):
    """A sends 48 Mbit at 4 bit/s/Hz, B 60 at 1; the band has 12 MHz, A is out in the
    second second, in which B has all of it."""
    ends, ledger = {}, Rows()
    env = Engine()
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=12 * MHZ,
        radio=LinearRadio(),
        divider=SHARING_RULES[kind](),
        ledger=ledger,
        transfer_ids=itertools.count(),
    )

    def client(n, bits, channel):
        yield band.send(Message(1, bits, n, n), channel).done
        ends[n] = env.now / S

    env.process(client(0, 48 * MBIT, Fades()))
    env.process(client(1, 60 * MBIT, Still(1.0)))
    env.run()
    assert not list(check_clock(ledger))
    by_hand = {
        "max-min-live": (2 + 38.4 / 9.6, 6.0),  # 9.6 Mbit/s each, then B alone
        "proportional-fair-live": (3.0, 6.0),  # 24 and 6 Mbit/s
        "shortest-first": (1.0, 6.0),  # A needs 1 s and has it before its outage
    }
    assert ends[1] == pytest.approx(by_hand[kind][1], abs=1e-3)
    assert ends[0] == pytest.approx(by_hand[kind][0], abs=1e-3)


@each_rule
def test_a_whole_scenario_keeps_to_the_rule(rule, tmp_path):
    trace = play_out(
        scenario(patient(), 3, sharing=rule, mode="unicast", rounds=2),
        tmp_path,
        uploads=(20 * MBIT, 17 * MBIT, 6 * MBIT),
        flops=(10**9, 2 * 10**9, 2 * 10**9),
    )
    assert [task.status for task in trace.tasks] == ["done"] * 6
    starts, ends = zip(*((r.start_ns, r.end_ns) for r in trace.rounds), strict=True)
    took_s = [(end - start) / S for start, end in zip(starts, ends, strict=True)]
    least_s = 0.5 + 0.25 + 1 + 43 / 12  # announce and merge, T* of the uploads
    if rule.kind in BUSY + TDMA:
        assert took_s == pytest.approx([least_s] * 2, abs=1e-6)
    else:
        assert min(took_s) > least_s


@each_rule
@each_radio
@settings(max_examples=25, deadline=None)
@given(expected=rounds(), band_hz=st.integers(1_000_000, 5_000_000))
def test_shares_fill_the_band_to_less_than_a_hertz(rule, radio, expected, band_hz):
    _, ledger = play_round(rule, expected, band_hz, radio)
    assert not list(check_clock(ledger))
    if "plans-rounds" in rule.traits and rule.kind != "work-conserving":
        terms = rule.reserve(expected, band_hz * HZ, radio).values()
        assert 0 <= band_hz * HZ - sum(one.pinned_uhz for one in terms) < HZ
    else:
        idle_uhz = [band_hz * HZ - row.allocated_uhz for row in ledger.bands]
        # up to half of the blocks: 3 of 5 for a phone at a time
        most_uhz = band_hz * HZ / 2 if rule.kind == "whole-blocks" else HZ
        assert all(0 <= idle < most_uhz for idle in idle_uhz)


@each_rule
@each_radio
@settings(max_examples=15, deadline=None)
@given(expected=rounds(has_ceilings=True), band_hz=st.integers(1_000_000, 5_000_000))
def test_ceilings_are_kept_and_only_they_leave_band_idle(
    rule, radio, expected, band_hz
):
    _, ledger = play_round(rule, expected, band_hz, radio)
    assert not list(check_clock(ledger))
    limit = {n: round(one.ceiling_hz * HZ) for n, one in enumerate(expected)}
    client = {t.transfer_id: t.client_id for t in ledger.transfers}
    for segment in ledger.segments:
        assert (segment.pinned_uhz or 0) <= limit[client[segment.transfer_id]]
    for row in ledger.bands:
        now = [s for s in ledger.segments if s.start_ns <= row.start_ns < s.end_ns]
        are_all_held = all(s.pinned_uhz is not None for s in now)
        is_full = band_hz * HZ - row.allocated_uhz < HZ
        assert row.allocated_uhz <= band_hz * HZ
        assert rule.kind not in BUSY or is_full or are_all_held


@each_radio
@settings(max_examples=40, deadline=None)
@given(expected=rounds(has_ceilings=True), band_hz=st.integers(1_000_000, 5_000_000))
def test_nobody_ends_later_work_conserving_than_at_equal_finish(
    radio, expected, band_hz
):
    fixed, _ = play_round(EqualFinish(), expected, band_hz, radio)
    busy, _ = play_round(WorkConserving(), expected, band_hz, radio)
    for n, one in enumerate(expected):
        sending_ns = fixed[n] - to_ns(one.compute_s)
        share = EqualFinish().reserve(expected, band_hz * HZ, radio)[n].pinned_uhz
        rounding = 2 * band_hz / share  # of a weight, relative to the share
        assert busy[n] <= fixed[n] + rounding * sending_ns + 2


@pytest.mark.parametrize("kind", BUSY + TDMA)
@settings(max_examples=40, deadline=None)
@given(expected=rounds(), band_hz=st.integers(1_000_000, 5_000_000))
def test_a_band_never_idle_ends_the_round_at_the_optimum(kind, expected, band_hz):
    radio = RADIOS[0]
    ends, _ = play_round(SHARING_RULES[kind](), expected, band_hz, radio)
    least_s = optimum_s(expected, band_hz, radio)
    assert max(ends) / S == pytest.approx(least_s, rel=2e-6, abs=1e-7)


def rates(rule, expected, band_hz, radio):
    terms = rule.reserve(expected, band_hz * HZ, radio)
    shares = [terms[one.client_id].pinned_uhz / HZ for one in expected]
    return [
        radio.rate_bps(one.cn0_hz, share)
        for one, share in zip(expected, shares, strict=True)
    ]


@each_radio
def test_equal_rate_and_max_min_differ_by_ceilings_only(radio):
    near_and_far = [Expected(0, 0.0, 1, 1e8), Expected(1, 2.0, 9, 2e6)]
    for rule in (EqualRate(), MaxMin()):
        one, other = rates(rule, near_and_far, 10**6, radio)
        assert one == pytest.approx(other, rel=1e-6)
    held = [*near_and_far, Expected(2, 0.0, 1, 1e7, 5e4)]
    strict, fair = (
        rates(EqualRate(), held, 10**6, radio),
        rates(MaxMin(), held, 10**6, radio),
    )
    assert strict == pytest.approx([strict[2]] * 3, rel=1e-6)
    assert fair[0] == pytest.approx(fair[1], rel=1e-6)
    assert fair[2] == pytest.approx(strict[2], rel=1e-6)
    assert fair[0] > fair[2]


def test_proportional_fair_is_equal_below_ceilings_at_constant_power_per_hertz():
    clients = [Expected(n, 0.0, 1, 1e6 * 4**n, 3e5) for n in range(4)]
    for rule in (ProportionalFair(), EqualFixed()):
        terms = rule.reserve(clients, 10**12, RADIOS[0]).values()
        assert [t.pinned_uhz for t in terms] == pytest.approx([25 * 10**10] * 4)
    held = [*clients[:3], Expected(3, 0.0, 1, 1e7, 1e5)]
    terms = ProportionalFair().reserve(held, 10**12, RADIOS[0]).values()
    assert [t.pinned_uhz for t in terms] == pytest.approx([30 * 10**10] * 3 + [10**11])


def test_proportional_fair_under_fixed_power_has_the_greatest_product_of_rates():
    radio, rng = FixedPowerRadio(), np.random.default_rng(1)
    clients = [Expected(n, 0.0, 1, 10.0**exponent) for n, exponent in enumerate((4, 6))]
    clients.append(Expected(2, 0.0, 1, 5e7))
    terms = ProportionalFair().reserve(clients, 10**12, radio).values()
    best_hz = np.array([t.pinned_uhz / HZ for t in terms])
    assert best_hz[0] < best_hz[1] < best_hz[2]

    def product(shares_hz):
        return math.fsum(
            math.log(radio.rate_bps(one.cn0_hz, share))
            for one, share in zip(clients, shares_hz, strict=True)
        )

    for _ in range(50):
        other_hz = best_hz * rng.uniform(0.9, 1.1, 3)
        other_hz *= 1e6 / other_hz.sum()
        assert product(other_hz) <= product(best_hz) + 1e-9


def test_rules_survive_a_round_of_nobody_and_one_of_nothing_to_send():
    for rule in RULES:
        for radio in RADIOS:
            assert rule.reserve([], 10**12, radio) == {}
            silent = [Expected(0, 1.0, 0, 1e6), Expected(1, 2.0, 0, 1e6)]
            terms = rule.reserve(silent, 10**12, radio).values()
            assert sum(one.pinned_uhz or 0 for one in terms) <= 10**12


@pytest.mark.parametrize(
    ("rule", "num_rounds", "published_s"),
    [
        (EqualFixed(), 1500, 7.24),
        (EqualFinish(), 400, 3.74),
        (ProcessorSharing(), 1500, 3.31),
        (WorkConserving(), 400, 3.31),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_the_worked_example_comes_out_of_the_engine(rule, num_rounds, published_s):
    """METHOD.md 5: 10 clients, tau ~ Exp(1) s, t ~ Exp(1), a band of 5; here in MHz."""
    rng, radio, took_s = np.random.default_rng(11), LinearRadio(), []
    for _ in range(num_rounds):
        compute_s, need = rng.exponential(size=(2, 10))
        expected = [
            Expected(n, compute_s[n], max(1, round(need[n] * 1e6)), 1.0)
            for n in range(10)
        ]
        ends, _ = play_round(rule, expected, 5_000_000, radio)
        took_s.append(max(ends) / S)
        if rule.kind in BUSY:
            least_s = optimum_s(expected, 5_000_000, radio)
            assert took_s[-1] == pytest.approx(least_s, rel=2e-6)
    error_s = np.std(took_s) / num_rounds**0.5
    assert np.mean(took_s) == pytest.approx(published_s, abs=3 * error_s + 0.005)

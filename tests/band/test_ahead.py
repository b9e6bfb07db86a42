"""Transfers played ahead of the clock against a band that goes from event to event."""

import itertools
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from netsim.band import Message, SharedBand, Terms
from netsim.band.ahead import Start
from netsim.core.engine import Engine
from netsim.sharing import ProcessorSharing
from netsim.trace.tables import Rows

TABLES = ("transfers", "segments", "bands")


@dataclass(frozen=True)
class Constant:
    """A channel that never changes, whose C/N0 is the efficiency."""

    efficiency_nbit: int

    def at(self, now_ns):
        return float(self.efficiency_nbit), None


class Flat:
    depends_on_share = False
    full_power_hz = 1e6

    def efficiency_nbit(self, cn0_hz, share_uhz):
        return int(cn0_hz)


def new_band(band_hz):
    env, ledger = Engine(), Rows()
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=band_hz,
        radio=Flat(),
        divider=ProcessorSharing(),
        ledger=ledger,
        transfer_ids=itertools.count(),
    )
    return env, band, ledger


def rows_of(ledger):
    return {name: list(map(tuple, getattr(ledger, name))) for name in TABLES}


def stepped(starts, band_hz, ceiling_uhz):
    """Return the rows and the seconds at full power of transfers that are sent."""
    env, band, ledger = new_band(band_hz)
    powers_s = []

    def client(start):
        yield env.timeout(start.start_ns)
        band.send(
            start.message,
            start.channel,
            terms=start.terms,
            ceiling_uhz=ceiling_uhz,
            at_end=lambda sent: powers_s.append(band.full_power_s(sent)),
        )

    for start in starts:
        env.process(client(start))
    env.run()
    band.close()
    return rows_of(ledger), powers_s


def ahead_of(starts, band_hz, ceiling_uhz):
    """Return the same of transfers that are played ahead; None where they are not."""
    _, band, ledger = new_band(band_hz)
    starts = sorted(starts, key=lambda start: start.start_ns)
    ahead = band.ahead(starts, ceiling_uhz)
    if ahead is None:
        return None
    band.catch_up(ahead)
    powers_s = [
        band.full_power_of_s(end_ns - starts[place].start_ns, held_uhz_ns)
        for place, end_ns, held_uhz_ns in ahead.ends
    ]
    return rows_of(ledger), powers_s


def starts_of(drawn):
    return [
        Start(
            start_ns,
            Message(1, bits, task_id=client_id, client_id=client_id),
            Constant(efficiency_nbit),
            Terms(*terms),
        )
        for client_id, (start_ns, bits, efficiency_nbit, terms) in enumerate(drawn)
    ]


def drawn(terms):
    ticks = st.integers(0, 9) | st.integers(0, 3_000_000)
    bits, efficiencies = (
        st.integers(1, 4000),
        st.sampled_from([10**9, 2 * 10**9, 10**7]),
    )
    return st.lists(
        st.tuples(ticks, bits, efficiencies, terms), min_size=1, max_size=12
    )


WEIGHTS = st.tuples(st.integers(1, 3), st.none())
PINS = st.tuples(st.just(0), st.integers(10**5, 8 * 10**7))


@settings(max_examples=150, deadline=None)
@given(drawn(WEIGHTS | PINS), st.sampled_from([10, 1000]))
def test_transfers_of_fixed_terms_end_ahead_as_they_do_in_time(plans, band_hz):
    starts = starts_of(plans)
    found = ahead_of(starts, band_hz, None)
    pinned_uhz = sum(start.terms.pinned_uhz or 0 for start in starts)
    if found is None:
        assert pinned_uhz > 0, "weights alone never exceed a band"
    else:
        assert found == stepped(starts, band_hz, None)


@settings(max_examples=150, deadline=None)
@given(drawn(st.just((1, None))), st.integers(10**6, 4 * 10**8) | st.just(250_000_000))
@example([(0, 900, 10**9, (1, None)), (10, 900, 10**9, (1, None))] * 3, 499_999_999)
def test_equal_transfers_under_one_ceiling_end_ahead_as_in_time(plans, ceiling_uhz):
    starts, band_hz = starts_of(plans), 1000
    found = ahead_of(starts, band_hz, ceiling_uhz)
    num_wide, rest_uhz = divmod(band_hz * 10**6, ceiling_uhz)
    if found is None:
        assert 0 < rest_uhz < num_wide or ceiling_uhz <= len(starts)
    else:
        assert found == stepped(starts, band_hz, ceiling_uhz)


def test_a_share_of_zero_and_a_live_transfer_are_left_to_the_clock():
    _, band, _ = new_band(1000)
    (start,) = starts_of([(5, 10, 10**9, (0, None))])
    assert band.ahead([start], None) is None
    (start,) = starts_of([(5, 10, 10**9, (1, None))])
    assert band.ahead([start], None) is not None
    band.send(start.message, start.channel)
    assert band.ahead([start], None) is None

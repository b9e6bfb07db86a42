"""Rules that keep an order between events give the same shares as their definition,
which looks at all live transfers at every event; and an event costs them little."""

import dataclasses
import itertools
import math
import random

import pytest

from netsim.band import Message, SharedBand, Terms
from netsim.core.engine import Engine
from netsim.sharing import (
    AtEvents,
    ShortestFirst,
    ShortestFirstTdma,
)
from netsim.sharing.live import WEIGHT_SUM, LiveMaxMin, LiveProportionalFair
from netsim.trace.tables import Rows
from tests.support.shared_rounds import HZ, LinearRadio, Still

MBIT, MS = 10**6, 10**6


class PlainShortestFirst(AtEvents):
    """Sorts all live transfers by the time that each would take alone."""

    def divide(self, started, live, band):
        free_uhz = band.ruled_uhz()

        def left_ns(one):
            share = min(one.ceiling_uhz or free_uhz, free_uhz)
            speed = share * band.radio.efficiency_nbit(one.cn0_hz, share)
            return band.work_left(one) / speed if speed else math.inf

        left = {one: left_ns(one) for one in live.values()}
        for one in sorted(left, key=lambda one: (left[one], one.order)):
            share = min(one.ceiling_uhz or free_uhz, free_uhz)
            if math.isinf(left[one]):
                share = 0
            yield one, Terms(0, share) if share else Terms(0)
            free_uhz -= share


class PlainShortestFirstTdma(AtEvents):
    """Searches all live transfers for the one with the fewest bits left."""

    def divide(self, started, live, band):
        def rank(one):
            return band.work_left(one), -one.cn0_hz, one.order

        before = next((one for one in live.values() if one.weight), None)
        among = live.values() if before is None else (before, *started)
        head = min(among, key=rank, default=None)
        changes = [
            (one, Terms(0)) for one in (before, *started) if one not in (None, head)
        ]
        return changes if head is None else [*changes, (head, Terms(1))]


class PlainMaxMin(AtEvents):
    """Weighs all live transfers by the inverse of their efficiency."""

    def divide(self, started, live, band):
        found = {
            one: band.radio.efficiency_nbit(one.cn0_hz, 1) for one in live.values()
        }
        parts = {one: 1e9 / found[one] for one in found if found[one]}
        yield from ((one, Terms(0)) for one in found if not found[one])
        if parts:
            room = (WEIGHT_SUM - len(parts)) / math.fsum(parts.values())
            scale = 2.0 ** math.floor(math.log2(room))
            yield from ((one, Terms(1 + int(parts[one] * scale))) for one in parts)


class PlainFair(AtEvents):
    """Gives all live transfers that are not in outage the same weight."""

    def divide(self, started, live, band):
        found = {
            one: band.radio.efficiency_nbit(one.cn0_hz, 1) for one in live.values()
        }
        yield from ((one, Terms(0)) for one in found if not found[one])
        yield from ((one, Terms(1)) for one in found if found[one])


RULES = [
    (ShortestFirst, PlainShortestFirst),
    (ShortestFirstTdma, PlainShortestFirstTdma),
    (LiveMaxMin, PlainMaxMin),
    (LiveProportionalFair, PlainFair),
]
each_rule = pytest.mark.parametrize(("rule", "plain"), RULES)


@dataclasses.dataclass
class Blocks:
    """A channel that changes every 40 ms and is in outage in some blocks."""

    seed: int

    def at(self, now_ns):
        block = now_ns // (40 * MS)
        draw = random.Random(f"{self.seed}/{block}").random()
        return (0.0 if draw < 0.1 else round(draw * 4, 1)), (block + 1) * 40 * MS


class Counting(LinearRadio):
    """Counts how often a rule or the band asks for an efficiency."""

    num_asked = 0

    def efficiency_nbit(self, cn0_hz, share_uhz):
        type(self).num_asked += 1
        return super().efficiency_nbit(cn0_hz, share_uhz)


def play(rule, sends, radio, channel):
    """Return the rows of transfers that start at given ticks: (tick, bits, ceiling)."""
    env, ledger = Engine(), Rows()
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=12 * 10**6,
        radio=radio,
        divider=rule,
        ledger=ledger,
        transfer_ids=itertools.count(),
    )

    def client(number, tick_ns, bits, ceiling_uhz):
        yield env.timeout(tick_ns)
        message = Message(1, bits, number, number % 7)
        yield band.send(message, channel(number), ceiling_uhz=ceiling_uhz).done

    for number, send in enumerate(sends):
        env.process(client(number, *send))
    env.run()
    band.close()
    return ledger.transfers, ledger.segments, ledger.bands


def traffic(seed, num_sends, over_ns):
    """Return sends at whole milliseconds, so that some start or end together."""
    draws = random.Random(seed)
    return [
        (
            draws.randrange(over_ns // MS) * MS,
            draws.choice((1, 2, 3)) * MBIT // 4,
            draws.choice((None, 2_000_000 * HZ, 5_000_000 * HZ)),
        )
        for _ in range(num_sends)
    ]


@each_rule
@pytest.mark.parametrize("channel", [Blocks, lambda number: Still(1 + number % 3)])
def test_shares_are_those_of_the_definition(rule, plain, channel):
    for seed in range(4):
        sends = traffic(seed, num_sends=60, over_ns=1_500 * MS)
        found = play(rule(), sends, LinearRadio(), channel)
        assert found == play(plain(), sends, LinearRadio(), channel)
        assert len(found[1]) > len(sends), "some terms change under way"


@each_rule
def test_an_event_asks_for_few_efficiencies(rule, plain):
    draws, num = random.Random(0), 300
    sends = [(0, draws.randrange(MBIT, 9 * MBIT), None) for _ in range(num)]
    asked = []
    for one in (rule, plain):
        Counting.num_asked = 0
        play(one(), sends, Counting(), lambda number: Still(1 + number / num))
        asked.append(Counting.num_asked)
    assert asked[0] < 20 * num
    assert plain is PlainShortestFirstTdma or asked[1] > num**2 / 2

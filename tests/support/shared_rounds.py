"""One round of uploads on one shared band."""

import itertools
import math
from dataclasses import dataclass

from netsim.band import Message, SharedBand
from netsim.core.clock import to_ns
from netsim.core.engine import Engine
from netsim.trace.tables import Rows

HZ = 10**6  # in micro-hertz


@dataclass(frozen=True)
class LinearRadio:
    """Efficiency in bit/s/Hz is whatever the channel says."""

    depends_on_share: bool = False

    def efficiency_nbit(self, cn0_hz, share_uhz):
        return round(cn0_hz * 1e9)

    def rate_bps(self, cn0_hz, share_hz):
        return cn0_hz * share_hz

    def share_hz_for_rate(self, cn0_hz, rate_bps):
        return rate_bps / cn0_hz


@dataclass(frozen=True)
class Still:
    """A channel that never changes."""

    cn0_hz: float

    def at(self, now_ns):
        return self.cn0_hz, None


def play_round(rule, expected, band_hz, radio):
    """Return each client's end in ns, and the trace, of one round on the engine."""
    env, ledger = Engine(), Rows()
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=band_hz,
        radio=radio,
        divider=rule,
        ledger=ledger,
        transfer_ids=itertools.count(),
    )
    terms = {}
    if "plans-rounds" in rule.traits:
        terms = rule.reserve(expected, band.free_uhz(), radio)
    ends = {}

    def client(one):
        if one.compute_s:
            yield env.timeout(to_ns(one.compute_s))
        has_ceiling = math.isfinite(one.ceiling_hz)
        transfer = band.send(
            Message(1, one.bits, one.client_id, one.client_id),
            Still(one.cn0_hz),
            terms=terms.get(one.client_id),
            ceiling_uhz=round(one.ceiling_hz * HZ) if has_ceiling else None,
        )
        yield transfer.done
        ends[one.client_id] = env.now

    for one in expected:
        env.process(client(one))
    env.run()
    band.close()
    return [ends[one.client_id] for one in expected], ledger

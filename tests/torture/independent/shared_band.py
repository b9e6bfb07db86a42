"""A band that live flows share, recomputed at every event in exact integers.

Work is micro-hertz times 10^-9 bit/s/Hz times nanoseconds: 10^24 of it are a bit.
"""

from tests.torture.independent.loop import Signal

BIT = 10**24


class Flow:
    """One transfer: its bits, and the terms that the trace recorded for it."""

    def __init__(self, client, bits, terms, most):
        self.client, self.left, self.terms = client, bits * BIT, terms
        self.bits, self.most = bits, most  # most: the widest share, in uHz
        self.share = self.efficiency = self.begun = 0
        self.over = Signal()

    def row(self, now):
        """Return the recorded terms at a tick; the last ones hold on."""
        for one in self.terms:
            if one["start"] <= now < one["end"]:
                return one
        return self.terms[-1]

    def change(self, now):
        """Return the next tick at which the recorded terms change."""
        later = (one["start"] for one in self.terms if one["start"] > now)
        return min(later, default=None)


class SharedBand:
    """Divides ``band_uhz`` by ``divide(flows, band_uhz)``, which sets each share."""

    def __init__(self, loop, band_uhz, divide):
        self._loop, self.width_uhz, self._divide = loop, band_uhz, divide
        self.live, self._since, self._plan = [], 0, 0
        self.largest_uhz = 0

    def start(self, flow):
        """Begin a flow now."""
        self._settle()
        flow.begun = self._loop.now
        self.live.append(flow)
        self._again()

    def cut(self, flow):
        """End a flow now, whatever it has left."""
        self._settle()
        self.live.remove(flow)
        self._again()
        flow.over.happen("cut")

    def _settle(self):
        lasted = self._loop.now - self._since
        for flow in self.live:
            flow.left -= flow.share * flow.efficiency * lasted
        self._since = self._loop.now

    def _again(self):
        now = self._loop.now
        for flow in self.live:
            flow.efficiency = flow.row(now)["efficiency"]
        self._divide(self.live, self.width_uhz, now)
        self.largest_uhz = max(self.largest_uhz, sum(f.share for f in self.live))
        self._plan += 1
        wakes = []
        for flow in self.live:
            rate = flow.share * flow.efficiency
            if rate:
                wakes.append(now + -(-flow.left // rate))
            wakes.append(flow.change(now))
        wakes = [one for one in wakes if one is not None]
        if wakes and self.live:
            plan = self._plan
            self._loop.at(min(wakes), lambda: plan == self._plan and self._wake())

    def _wake(self):
        self._settle()
        ended = sorted((f for f in self.live if f.left <= 0), key=lambda f: f.client)
        self.live = [flow for flow in self.live if flow.left > 0]
        self._again()
        for flow in ended:
            flow.over.happen("done")

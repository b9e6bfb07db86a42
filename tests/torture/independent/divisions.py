"""How each shipped rule divides a band, from the sentences of ``netsim schema``.

What a rule decides in whole numbers is computed here. What a float decides (the
shares of a round, the weights of max-min) comes from the trace and is compared with
the formula in ``formulas``.
"""

from fractions import Fraction
from functools import partial

UNIT_BITS = 80_000  # of ``weighted``: 10 kB


def _elastic(flows, band_uhz, weight):
    """Fill shares in proportion to weights, up to each radio's ceiling."""
    capped = {}
    while True:
        total = sum(weight(flow) for flow in flows if flow not in capped)
        unit = (band_uhz - sum(capped.values())) // total if total else 0
        over = {
            flow: flow.most
            for flow in flows
            if flow not in capped and weight(flow) * unit > flow.most
        }
        if not over:
            break
        capped |= over
    for flow in flows:
        flow.share = capped.get(flow, weight(flow) * unit)


def equal(flows, band_uhz, now):
    """Give all the same share."""
    _elastic(flows, band_uhz, lambda flow: 1)


def by_payload(flows, band_uhz, now):
    """Weigh by payload, in units of 10 kB, rounded up."""
    _elastic(flows, band_uhz, lambda flow: -(-flow.bits // UNIT_BITS))


def in_order(flows, band_uhz, now, key):
    """Give the first in an order what its radio can use, the next the rest."""
    for flow in sorted(flows, key=key):
        flow.share = min(band_uhz, flow.most)
        band_uhz -= flow.share


def one_at_a_time(flows, band_uhz, now, key):
    """Give the first in an order the band, and nothing to others."""
    for place, flow in enumerate(sorted(flows, key=key)):
        flow.share = 0 if place else flow.most


def recorded(flows, band_uhz, now):
    """Take shares that were fixed, and weights, as the trace has them."""
    rows = {flow: flow.row(now) for flow in flows}
    pinned = {f: r["pinned"] for f, r in rows.items() if r["pinned"] is not None}
    total = sum(r["weight"] for f, r in rows.items() if f not in pinned)
    unit = (band_uhz - sum(pinned.values())) // total if total else 0
    for flow, row in rows.items():
        flow.share = pinned.get(flow, row["weight"] * unit)


def live_by_rates(flows, band_uhz, now):
    """Share equally where rates grow with shares, else take what the trace has."""
    pinned = any(flow.row(now)["pinned"] is not None for flow in flows)
    (recorded if pinned else equal)(flows, band_uhz, now)


def _time_alone(flow):
    """Order by the time that what is left would take with the whole band."""
    rate = flow.efficiency * flow.most
    return (not rate, Fraction(flow.left, rate or 1), flow.client)


DIVISIONS = {
    "processor-sharing": equal,
    "weighted": by_payload,
    "tdma-first-come": partial(one_at_a_time, key=lambda f: (f.begun, f.client)),
    "tdma-shortest-first": partial(
        one_at_a_time, key=lambda f: (f.left, -f.efficiency, f.client)
    ),
    "shortest-first": partial(in_order, key=_time_alone),
    "proportional-fair-live": live_by_rates,
} | dict.fromkeys(
    (
        "first-come",
        "equal-fixed",
        "proportional",
        "equal-rate",
        "equal-finish",
        "max-min",
        "max-min-live",
        "proportional-fair",
        "whole-blocks",
        "work-conserving",
    ),
    recorded,
)

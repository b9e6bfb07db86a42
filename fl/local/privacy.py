"""The privacy that clipped and noisy steps have spent, by an accountant of others."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec

LACKS = "delta needs dp-accounting, the extra 'privacy': install it, or leave delta out"


def is_there() -> bool:
    """Return whether the accountant is installed."""
    return find_spec("dp_accounting") is not None


@cache
def epsilon(
    rate: float, noise_multiplier: float, num_steps: int, delta: float
) -> float:
    """Return the epsilon of so many steps, each on samples taken with this probability,
    for one sample more or less, by Renyi accounting of ``dp-accounting``."""
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    step = dp_event.GaussianDpEvent(noise_multiplier)
    if rate < 1:
        step = dp_event.PoissonSampledDpEvent(rate, step)
    logging.getLogger("absl").setLevel(logging.ERROR)  # of orders that it leaves out
    accountant = RdpAccountant()
    accountant.compose(step, num_steps)
    return float(accountant.get_epsilon(delta))
